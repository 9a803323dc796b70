"""Certificates of the installation's own names, with the real Pebble and the real report doors."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

import msgspec
import pytest
from cryptography import x509
from django.db import connections
from tests.fakes.signer import report_json
from tests.ingest.conftest import json_body, smtp
from tests.worker.certificatebed import Bed, pebble_for

from mailward.config import Nameserver, Reports
from mailward.core.acme.state import CareState
from mailward.hosting.certificates import IssuedCertificates
from mailward.ingest.doors import Doors, open_doors
from mailward.net import clock
from mailward.net.acme import AcmeClient
from mailward.net.authority import load_authority
from mailward.net.sealing import load_keyring
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, Certificate, Domain, OwnNameCare, Report, Role
from mailward.store.queries.certificates import overview, own_name_trouble
from mailward.store.scope import Scope
from mailward.store.services.certificates import begin_order, plan_of, sweep

pytestmark = pytest.mark.django_db(transaction=True)

HTTPS, MAIL, POLICIES = "tlsrpt.test", "reports.test", "policies.test"
REPORTS = Reports(domain=MAIL, https_name=HTTPS)
ORDERED = "POST /order-plz"


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    connections.close_all()


def publish_own(bed: Bed) -> None:
    for name in (HTTPS, MAIL, POLICIES):
        bed.dns.set(name, "A", "127.0.0.1")


@asynccontextmanager
async def doors_of(bed: Bed) -> AsyncIterator[Doors]:
    """As their process opens them, and follows what is issued."""
    issued = IssuedCertificates(
        bed.folder / "certificates-doors.sqlite3", load_keyring(bed.settings), own_names=True
    )
    async with open_doors(bed.settings, issued=[issued]) as doors:
        following = asyncio.create_task(issued.follow())
        try:
            yield doors
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


class Reporter:
    """One connection to the HTTPS door, of a reporter that checks the certificate."""

    def __init__(self, port: int, roots: bytes) -> None:
        self._port, self._roots = port, roots

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._roots.decode())
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=context, server_hostname=HTTPS
        )
        der = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.certificate = x509.load_der_x509_certificate(der)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def post(self, domain: Domain, body: bytes) -> bytes:
        """The status line."""
        head = (
            f"POST /v1/tlsrpt/{domain.report_token} HTTP/1.1\r\nHost: {HTTPS}\r\n"
            f"Content-Type: application/tlsrpt+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(20):
            answer = await self._reader.readuntil(b"\r\n\r\n")
            await self._reader.readuntil(b"\n")
        return answer.partition(b"\r\n")[0]


async def starttls(port: int, name: str, roots: bytes) -> str:
    """The name that the mail door's certificate is for, chained to these roots; empty: it offers no STARTTLS."""
    context = ssl.create_default_context(cadata=roots.decode())
    context.check_hostname = False
    async with smtp(port) as client:
        if "STARTTLS" not in await client.command("EHLO client.test"):
            return ""
        assert (await client.command("STARTTLS")).startswith("220")
        await client.writer.start_tls(context, server_hostname=name)
        names = client.writer.get_extra_info("ssl_object").getpeercert()["subjectAltName"]
        assert (await client.command("EHLO client.test")).startswith("250")
        await client.command("QUIT")
    return ", ".join(value for _, value in names)


async def test_both_report_doors_and_the_policy_host_show_certificates_that_were_ordered(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=REPORTS)
        publish_own(bed)
        async with doors_of(bed) as doors:
            assert await starttls(doors.smtp_port, MAIL, pebble.roots()) == ""
            with pytest.raises(ssl.SSLError):
                await Reporter(doors.https_port, pebble.roots()).__aenter__()
            cares = await bed.work_on_own()
            assert {host: care.state for host, care in cares.items()} == dict.fromkeys(
                (HTTPS, MAIL, POLICIES), CareState.GOOD
            )
            await asyncio.sleep(1)  # every process serves it within a second
            async with Reporter(doors.https_port, pebble.roots()) as reporter:
                status = await reporter.post(domain, json_body(report_json()))
            assert status == b"HTTP/1.1 201 Created"
            assert await starttls(doors.smtp_port, MAIL, pebble.roots()) == MAIL
        await bed.issued.refresh()
        assert bed.issued.load(POLICIES) is not None
    assert await in_store(Report.objects.count) == 1
    assert pebble.log.count(ORDERED) == 3
    assert pebble.log.count("POST /sign-me-up") == 1, (
        "all three at once, and it may fail where two ask at once"
    )
    key = await in_store(lambda: bytes(Certificate.objects.get(host=HTTPS).key))
    assert b"PRIVATE KEY" not in key


async def test_a_renewed_certificate_is_shown_without_an_end_to_what_is_open(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble", certificateValidityPeriod=6 * 86_400) as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=HTTPS))
        publish_own(bed)
        await bed.work_on_own()
        async with doors_of(bed) as doors:
            await asyncio.sleep(1)
            async with Reporter(doors.https_port, pebble.roots()) as before:
                await before.post(domain, json_body(report_json()))
                await bed.pass_time(timedelta(days=4.1))
                cares = await bed.work_on_own()
                assert cares[HTTPS].state == CareState.GOOD
                await asyncio.sleep(1)
                async with Reporter(doors.https_port, pebble.roots()) as after:
                    assert after.certificate.serial_number != before.certificate.serial_number
                assert await before.post(domain, json_body(report_json())) == b"HTTP/1.1 200 OK"
    # of the policy host's name too
    assert await in_store(Certificate.objects.count) == 4


async def test_a_name_that_does_not_lead_to_us_waits_and_says_why(bed: Bed, tmp_path: Path) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        writer.close()

    stranger = await asyncio.start_server(other, "127.0.0.2", bed.http_port)
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=REPORTS)
        bed.dns.set(HTTPS, "A", "127.0.0.2")
        bed.dns.set(POLICIES, "A", "127.0.0.3")  # nobody is there
        cares = await bed.work_on_own()
        port = bed.http_port
        assert {host: (care.state, care.detail) for host, care in cares.items()} == {
            HTTPS: (CareState.REACH, f"127.0.0.2 port {port} is another server (it answers 404)"),
            MAIL: (CareState.REACH, f"{MAIL} has no address"),
            POLICIES: (CareState.REACH, cares[POLICIES].detail),
        }
        assert cares[POLICIES].detail.startswith(f"127.0.0.3 port {port}: ")
        assert ORDERED not in pebble.log
        # the mail door shows the other's certificate, so that nobody has to look after that one
        told = await in_store(own_name_trouble, bed.settings.needed_names)
        assert told[0] == POLICIES
        publish_own(bed)
        bed.dns.remove(MAIL, "A")
        await bed.work_on_own()
        assert await in_store(own_name_trouble, bed.settings.needed_names) == ("", "")
        async with doors_of(bed) as doors:
            await asyncio.sleep(1)
            assert await starttls(doors.smtp_port, MAIL, pebble.roots()) == HTTPS
    stranger.close()
    await stranger.wait_closed()


async def test_for_a_name_with_a_file_of_the_operator_s_none_is_ordered(bed: Bed, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=HTTPS))
        publish_own(bed)
        file = tmp_path / "certs" / "own.pem"
        file.parent.mkdir()
        file.write_bytes(load_authority(tmp_path / "ca").issue(HTTPS, clock.now()))
        assert set(await bed.work_on_own()) == {POLICIES}
        file.unlink()
        await asyncio.sleep(2.1)  # folders are looked into every two seconds
        assert (await bed.work_on_own())[HTTPS].state == CareState.GOOD
        # what the settings name no more is left, and no second one is ordered when they name it again
        named = bed.settings
        bed.settings = type(named)(data=named.data, acme=named.acme, dns=named.dns)
        assert await bed.work_on_own() == {}
        bed.settings = named
        again = (await bed.work_on_own())[HTTPS]
        assert again.state == CareState.GOOD
        assert again.current is not None
        assert again.renew_at is not None
        assert clock.now() < again.renew_at < again.current.not_after
    assert await in_store(Certificate.objects.count) == 2


async def test_an_order_that_was_begun_is_gone_on_with(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after each step in turn; in the end there is one order and one certificate."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES))
        publish_own(bed)
        for step in ("order", "authorization", "answer", "finalize", "certificate"):
            with monkeypatch.context() as patched:
                patched.setattr(AcmeClient, step, _die)
                await bed.work_on_own()
        assert (await bed.work_on_own())[POLICIES].state == CareState.GOOD
        assert pebble.log.count(ORDERED) == 1
    assert await in_store(AcmeOrder.objects.count) == 1
    assert await in_store(Certificate.objects.count) == 1


def _die(*_arguments: object, **_options: object) -> None:
    raise RuntimeError("killed")


async def test_there_is_one_order_a_name(bed: Bed, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES))
        publish_own(bed)
        await bed.work_on_own()

    def order_twice() -> list[bool]:
        plan = plan_of(POLICIES)
        assert plan is not None
        account = AcmeOrder.objects.get().account_id
        what = {"key": b"", "method": "http-01", "profile": "", "replaces": ""}
        return [begin_order(plan, account, 100, **what) is None for _ in range(2)]  # type: ignore[arg-type]

    assert await in_store(order_twice) == [False, True]


async def test_caa_records_count_for_our_own_names_too(bed: Bed, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start(
            [pebble.directory_with(caa_identities=("ca.test",))], reports=Reports(domain=POLICIES)
        )
        publish_own(bed)
        bed.dns.set(POLICIES, "CAA", '0 issue "other.test"')
        care = (await bed.work_on_own())[POLICIES]
        words = f"{POLICIES}: the CAA records allow other.test, not ca.test"
        assert (care.state, care.detail) == (CareState.FORBIDDEN, words)
        assert await in_store(own_name_trouble, bed.settings.needed_names) == (POLICIES, words)
        assert ORDERED not in pebble.log


async def test_another_ca_is_asked_where_the_first_refuses(bed: Bed, tmp_path: Path) -> None:
    with (
        pebble_for(bed, tmp_path / "first", version="2.6", domainBlocklist=[POLICIES]) as first,
        pebble_for(bed, tmp_path / "second") as second,
    ):
        await bed.start([first.directory, second.directory], reports=Reports(domain=POLICIES))
        publish_own(bed)
        care = (await bed.work_on_own())[POLICIES]
    assert care.state == CareState.GOOD
    assert care.current is not None
    assert care.current.directory == second.directory.url


async def test_no_organisation_sees_them_and_they_last_as_long_as_they_are_used(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES))
        publish_own(bed)
        await bed.work_on_own()
        directory = pebble.directory.url

    def look() -> None:
        scope = Scope(domain.organisation_id, 0, Role.OWNER)
        assert not scope.certificates().exists()
        assert not scope.certificate_orders().exists()
        assert not scope.certificate_cares().exists()
        seen = overview([(directory, 100)])
        assert [(own.host, own.state) for own in seen.own] == [(POLICIES, CareState.GOOD)]
        assert (seen.authorities[0].certificates, seen.states) == (1, {})
        Certificate.objects.update(not_after=clock.now() - timedelta(days=90))
        sweep()
        assert Certificate.objects.count() == 1
        OwnNameCare.objects.all().delete()
        sweep()
        assert Certificate.objects.count() == 0

    await in_store(look)


async def test_the_doors_keep_no_certificates_of_customers(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES))
        publish_own(bed)
        bed.publish(domain)
        await bed.work_on_own()
        await bed.work(domain)
    keeper = IssuedCertificates(
        tmp_path / "certificates-doors.sqlite3", load_keyring(bed.settings), own_names=True
    )
    await keeper.refresh()
    assert keeper.load(POLICIES) is not None
    assert keeper.load(f"mta-sts.{domain.name}") is None
    keeper.close()


async def test_silence_is_believed_once_a_ca_has_reached_us(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    """A machine may not reach its own outside address; a closed port 80 looks the same from there."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES))
        bed.dns.set(POLICIES, "A", "127.0.0.3")
        assert (await bed.work_on_own())[POLICIES].state == CareState.REACH
        assert ORDERED not in pebble.log
        bed.publish(domain)
        assert (await bed.work(domain)).state == CareState.GOOD
        # Pebble, which is here too, does not reach it either, and its words are told
        care = (await bed.work_on_own())[POLICIES]
    assert care.state == CareState.FAILING
    assert "127.0.0.3" in care.detail
    assert pebble.log.count(ORDERED) == 2


async def test_who_chose_dns_is_not_asked_at_port_80_and_reads_what_is_missing(
    bed: Bed, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory], reports=Reports(domain=POLICIES), own_challenge="dns-01")
        publish_own(bed)
        care = (await bed.work_on_own())[POLICIES]
        words = "own_challenge is dns-01 and there is no nameserver.zone"
        assert (care.state, care.detail) == (CareState.REACH, words)
        bed.settings = msgspec.structs.replace(bed.settings, nameserver=Nameserver(zone="sts.test"))
        detail = (await bed.work_on_own())[POLICIES].detail
        # sha256 of the name
        target = "_acme-challenge.own-68114e91c6195c15ff9b.sts.test"
        assert detail == (
            f"_acme-challenge.{POLICIES} does not lead to our nameserver, as by a CNAME to {target}"
        )
        assert ORDERED not in pebble.log
