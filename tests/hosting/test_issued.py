"""Issued certificates at a node whose database was restored from a backup while it went on serving."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.certs import Authority

from mailward.config import Settings
from mailward.core.acme.renewal import Renewal, Why
from mailward.hosting.certificates import IssuedCertificates
from mailward.net import clock
from mailward.net.certificates import Certificates
from mailward.net.sealing import KEY_BYTES, Keyring, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, Certificate, CertificateSequence, Domain, Organisation
from mailward.store.services.certificates import (
    Issued,
    account_purpose,
    ensure_account,
    issued,
    key_purpose,
    next_sequence,
)
from mailward.store.services.resealing import reseal

OLD, NEW = b"1" * KEY_BYTES, b"2" * KEY_BYTES

pytestmark = pytest.mark.django_db(transaction=True)


def add(authority: Authority, keyring: Keyring, name: str, sequence: int) -> None:
    host = f"mta-sts.{name}"
    key, mark, chain = authority.issue_pem(host).partition(b"-----BEGIN CERTIFICATE")
    organisation, _ = Organisation.objects.get_or_create(name="One", defaults={"report_token": "0rg"})
    domain, _ = Domain.objects.get_or_create(
        organisation=organisation, name=name, defaults={"report_token": name, "claim_token": "c"}
    )
    Certificate.objects.create(
        organisation=organisation,
        domain=domain,
        host=host,
        directory="https://ca.test/dir",
        chain=(mark + chain).decode(),
        key=keyring.seal(key, key_purpose(host)),
        sequence=sequence,
        issuer="",
        not_before=clock.now(),
        not_after=clock.now(),
        renewal_id="",
    )
    CertificateSequence.objects.update_or_create(pk=1, defaults={"value": sequence})


def restore() -> None:
    """The database of before."""
    Certificate.objects.all().delete()
    CertificateSequence.objects.update(value=0)


async def test_a_number_that_is_given_again_brings_its_own_certificate(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    (tmp_path / "authority").mkdir()
    authority, keyring = Authority(tmp_path / "authority"), load_keyring(settings)
    node = IssuedCertificates(tmp_path / "certificates.sqlite3", keyring)
    served = Certificates(settings, is_ours=lambda _: False, issued=[node])
    for number, name in enumerate(("one.test", "two.test"), 1):
        await in_store(add, authority, keyring, name, number)
    await node.refresh()
    first = served.context_for("mta-sts.one.test")
    assert first is not None
    await in_store(restore)
    await in_store(add, authority, keyring, "three.test", 1)
    await node.refresh()
    third = served.context_for("mta-sts.three.test")
    assert third is not None
    assert third is not first
    assert served.context_for("mta-sts.two.test") is None
    node.close()


def renew(authority: Authority, keyring: Keyring, name: str) -> None:
    """A later certificate of the domain's host, or of the same host as a name of the installation's own."""
    first = Certificate.objects.filter(host__endswith=name).order_by("sequence").first()
    assert first is not None
    key, mark, chain = authority.issue_pem(first.host).partition(b"-----BEGIN CERTIFICATE")
    first.pk, first.sequence = Certificate().pk, next_sequence()
    first.chain, first.key = (mark + chain).decode(), keyring.seal(key, key_purpose(first.host))
    first.save(force_insert=True)


@pytest.mark.parametrize("is_own", [False, True], ids=["a domain's", "our own name's"])
async def test_a_certificate_that_was_renewed_is_not_served_again_because_its_key_is_sealed_anew(
    tmp_path: Path, *, is_own: bool
) -> None:
    authority, ring = Authority(tmp_path), Keyring([NEW, OLD])
    node = IssuedCertificates(tmp_path / "certificates.sqlite3", ring, own_names=is_own)
    for number, name in enumerate(("renewed.test", "kept.test"), 1):
        await in_store(add, authority, Keyring([OLD]), name, number)
    if is_own:
        await in_store(lambda: Certificate.objects.update(domain=None, organisation=None))
    await in_store(renew, authority, ring, "renewed.test")
    await node.refresh()
    before = {host: node.load(host) for host in ("mta-sts.renewed.test", "mta-sts.kept.test")}
    assert await in_store(reseal, ring) == 2
    await node.refresh()
    # by the new key alone, the same certificates
    node._keyring = Keyring([NEW])
    for host, loaded in before.items():
        again = node.load(host)
        assert loaded is not None
        assert again is not None
        assert again[0] == loaded[0]
    node.close()
    assert await in_store(reseal, ring) == 0


async def test_a_host_that_is_a_domain_s_and_our_own_keeps_both_certificates_in_their_order(
    tmp_path: Path,
) -> None:
    authority, ring = Authority(tmp_path), Keyring([NEW, OLD])
    await in_store(add, authority, Keyring([OLD]), "both.test", 1)
    await in_store(lambda: Certificate.objects.update(domain=None, organisation=None))
    await in_store(add, authority, ring, "both.test", 2)
    doors, policies = (
        IssuedCertificates(tmp_path / name, ring, own_names=own) for name, own in (("d", True), ("p", False))
    )
    for node in (doors, policies):
        await node.refresh()
    before = [node.load("mta-sts.both.test") for node in (doors, policies)]
    assert await in_store(reseal, ring) == 1
    for node, loaded in zip((doors, policies), before, strict=True):
        await node.refresh()
        again = node.load("mta-sts.both.test")
        assert again is not None
        assert loaded is not None
        assert again[0] == loaded[0]
        assert again[1] != loaded[1]
        node.close()


def order(keyring: Keyring) -> AcmeOrder:
    """One that is under way, of a name of the installation's own."""
    directory = "https://ca.test/dir"
    account = ensure_account(directory, lambda: keyring.seal(b"account", account_purpose(directory)))
    return AcmeOrder.objects.create(
        account=account,
        host="doors.test",
        key=keyring.seal(b"key", key_purpose("doors.test")),
        method="http-01",
        placed_at=clock.now(),
    )


def test_a_certificate_that_comes_after_its_order_was_sealed_anew_has_the_new_seal() -> None:
    under_way, ring = order(Keyring([OLD])), Keyring([NEW, OLD])
    assert reseal(ring) == 2
    what = Issued("chain", "issuer", clock.now(), clock.now() + timedelta(days=90), "")
    certificate = issued(under_way, what, Renewal(clock.now(), Why.LIFETIME))
    assert certificate is not None
    assert Keyring([NEW]).open(bytes(certificate.key), key_purpose("doors.test")) == b"key"
