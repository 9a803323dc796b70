"""Certificates from the first DNS record to the handshake, with the real Pebble."""

from pathlib import Path

import pytest
from django.db import OperationalError
from tests.worker.certificatebed import Bed, pebble_for

from mailward.core.acme.state import CareState
from mailward.hosting.certificates import IssuedCertificates
from mailward.hosting.challenges import ChallengeHost
from mailward.net import clock
from mailward.net.acme import AcmeClient
from mailward.net.httpserver import Request
from mailward.net.sealing import load_keyring, make_key, write_key_file
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, Certificate, Domain
from mailward.store.queries.certificates import Served, certificates_after, key_authorization_of
from mailward.store.services.resealing import reseal
from mailward.worker.numbers import COUNTS

pytestmark = pytest.mark.django_db(transaction=True)

ORDERED = "POST /order-plz"
"""What Pebble writes down about a new order."""


def orders_issued() -> float:
    """As /metrics tells it."""
    [family] = [each for each in COUNTS.families() if each.name == "mailward_certificate_orders_total"]
    return sum(each.value for each in family.samples if each.labels["outcome"] == "issued")


async def test_a_domain_that_leads_to_us_has_a_certificate_and_serves_it(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble", reject_nonces=50) as pebble:
        await bed.start([pebble.directory])
        await bed.publish_policy(domain)
        bed.publish(domain)
        before = orders_issued()
        care = await bed.work(domain)
        assert orders_issued() == before + 1
        assert (care.state, care.detail) == (CareState.GOOD, "")
        assert care.current is not None
        assert ORDERED in pebble.log
        answer = await bed.fetch(domain, pebble.roots())
    assert answer.startswith(b"HTTP/1.1 200")
    assert care.current.not_before < clock.now() < (care.renew_at or clock.now()) < care.current.not_after
    # what lies in the database is sealed
    key = await in_store(lambda: bytes(Certificate.objects.get().key))
    assert b"PRIVATE KEY" not in key


async def test_no_order_is_placed_before_the_domain_is_proved(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.dns.set("mta-sts.example.test", "A", "127.0.0.1")
        care = await bed.work(domain)
        assert care.state == CareState.CLAIM
        assert not await in_store(AcmeOrder.objects.exists)
        assert ORDERED not in pebble.log


async def test_no_order_is_placed_before_the_name_leads_to_us(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.publish(domain)
        bed.dns.remove("mta-sts.example.test", "A")
        care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.REACH, "mta-sts.example.test has no address")
        assert not await in_store(AcmeOrder.objects.exists)


async def test_keys_are_sealed_anew_while_what_they_open_is_served(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        await bed.publish_policy(domain)
        bed.publish(domain)
        await bed.work(domain)
        before = (tmp_path / "key").read_text().split()
        write_key_file(tmp_path / "new", [make_key(), *before]).replace(tmp_path / "key")
        ring = load_keyring(bed.settings)
        # the account and the certificate; the order has ended, and its key is that of the certificate
        assert await in_store(reseal, ring) >= 2
        assert await in_store(reseal, ring) == 0
        write_key_file(tmp_path / "new", (tmp_path / "key").read_text().split()[:1]).replace(tmp_path / "key")
        assert (await bed.fetch(domain, pebble.roots())).startswith(b"HTTP/1.1 200")
        # a node that starts now knows the new key alone
        again = IssuedCertificates(tmp_path / "certificates.sqlite3", load_keyring(bed.settings))
        loaded = again.load("mta-sts.example.test")
        again.close()
    assert loaded is not None
    assert b"PRIVATE KEY" in loaded[0]


async def test_every_node_answers_the_ca_and_serves_the_certificate(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CA meets the first node; the second one would have known the same, and serves the certificate too."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.publish(domain)
        ring = load_keyring(bed.settings)
        second, asked = ChallengeHost(ring), []

        def find(token: str, host: str) -> str | None:
            asked.append((token, host))
            return key_authorization_of(token, host)

        monkeypatch.setattr(bed.challenge_host, "_find", find)
        with monkeypatch.context() as patched:
            # while the order is open
            patched.setattr(AcmeClient, "finalize", _die)
            await bed.work(domain)
            token, host = asked[0]
            answered = await second.answer(_request(f"/.well-known/acme-challenge/{token}", host))
            elsewhere = await second.answer(
                _request(f"/.well-known/acme-challenge/{token}", "mta-sts.other.test")
            )
        assert (answered.status, answered.body.startswith(token.encode())) == (200, True)
        assert elsewhere.status == 404
        await bed.work(domain)
        node = IssuedCertificates(tmp_path / "second.sqlite3", ring)
        await node.refresh()
        assert node.load(host) is not None
        # and the order being over, nothing is answered any more
        gone = await second.answer(_request(f"/.well-known/acme-challenge/{token}", host))
        assert gone.status == 404
        node.close()
        second.close()


def _die(*_arguments: object, **_options: object) -> None:
    raise RuntimeError("killed")


def _request(path: str, host: str) -> Request:
    return Request("GET", path, "", host, {}, b"", "127.0.0.1", None, False)


async def test_what_is_known_is_served_while_the_database_is_away(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        await bed.publish_policy(domain)
        bed.publish(domain)
        await bed.work(domain)
        await bed.issued.refresh()
        await bed.policies.refresh()
    node = IssuedCertificates(tmp_path / "certificates.sqlite3", load_keyring(bed.settings))

    def away() -> int:
        raise OperationalError("no database")

    monkeypatch.setattr("mailward.hosting.certificates.certificate_sequence", away)
    await node.refresh()
    assert node.version_for("mta-sts.example.test") is not None
    assert node.load("mta-sts.example.test") is not None
    node.close()


async def test_a_removed_domain_s_certificate_goes_from_the_node(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.publish(domain)
        await bed.work(domain)
        await bed.issued.refresh()
        assert bed.issued.version_for("mta-sts.example.test") is not None
    await in_store(domain.delete)
    monkeypatch.setattr("mailward.hosting.certificates.RECONCILE_SECONDS", 0.0)
    await bed.issued.refresh()
    assert bed.issued.load("mta-sts.example.test") is None
    assert bed.issued.version_for("mta-sts.example.test") is None


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 100, b""])
async def test_a_damaged_file_is_filled_again_from_the_database(
    bed: Bed, domain: Domain, tmp_path: Path, damage: bytes
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.publish(domain)
        await bed.work(domain)
    (tmp_path / "node.sqlite3").write_bytes(damage)
    node = IssuedCertificates(tmp_path / "node.sqlite3", load_keyring(bed.settings))
    await node.refresh()
    assert node.load("mta-sts.example.test") is not None
    node.close()
    assert (tmp_path / "node.sqlite3.damaged").exists() is bool(damage)


async def test_what_a_node_did_not_get_it_gets_at_the_next_look(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        bed.publish(domain)
        await bed.work(domain)
    node = IssuedCertificates(tmp_path / "node.sqlite3", load_keyring(bed.settings))
    calls = []

    def once(sequence: int, limit: int) -> list[Served]:
        calls.append(sequence)
        if len(calls) == 2:
            raise OperationalError("gone in the middle")
        return certificates_after(sequence, limit)

    monkeypatch.setattr("mailward.hosting.certificates.certificates_after", once)
    await node.refresh()
    # the first part is there, the rest comes
    assert node.version_for("mta-sts.example.test") is not None
    await node.refresh()
    assert calls == [0, 1, 1]
    await node.refresh()
    assert calls == [0, 1, 1]
    node.close()
