"""What anybody can send without a signature has an end each day; what somebody vouches for has room besides."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.databases import held_writes
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import House, json_body

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.ingest import acceptor
from mailward.ingest.accept import Arrival, read_arrival
from mailward.ingest.addresses import ReportAddress
from mailward.ingest.errors import StoreBusy
from mailward.ingest.writer import Writer
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain, Door, QuarantinedMessage, Report, Trust
from mailward.store.services.incoming import Incoming, Judgement, ReportDigest, ShareDigest, size_of

pytestmark = pytest.mark.usefixtures("domain")
GOOGLE = Signer("google.test")


def unsigned(number: int) -> bytes:
    return google_mail(report_json(report_id=str(number)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for some unsigned reports, or two mails that cannot be read."""
    monkeypatch.setattr(acceptor, "MAX_UNVOUCHED_BYTES_A_DAY", 10_000)
    monkeypatch.setattr(acceptor, "MAX_UNREADABLE_A_DAY", 2)


async def test_unsigned_reports_have_an_end_and_signed_ones_go_on(small: None, house: House) -> None:
    GOOGLE.publish(house.dns)
    replies = [(await house.mail(unsigned(number)))[:3] for number in range(10)]
    taken = await in_store(Report.objects.count)
    assert replies == ["250"] * taken + ["452"] * (10 - taken)
    assert 2 <= taken <= 5
    assert await house.post(json_body(report_json(organization="x" * 2_000))) == 429
    assert (await house.mail(GOOGLE.sign(unsigned(9)))).startswith("250")
    assert await in_store(lambda: Report.objects.filter(trust=Trust.VERIFIED).count()) == 1
    with clock.frozen(clock.now() + timedelta(days=1)):
        assert (await house.mail(unsigned(3))).startswith("250")


async def test_so_has_what_cannot_be_read(small: None, house: House) -> None:
    replies = [await house.mail(f"Subject: {number}\r\n\r\nno report\r\n".encode()) for number in range(3)]
    assert [reply[:3] for reply in replies] == ["250", "250", "452"]
    assert await in_store(QuarantinedMessage.objects.count) == 2


async def test_a_report_about_many_domains_is_counted_for_each(domain: Domain) -> None:
    """Each domain's row holds the whole report: of ten thousand domains, a mail of 100 KiB would be gigabytes."""
    names = {f"d{number}.test": number for number in range(1, 101)}
    report = report_json() | {"policies": [report_json(name)["policies"][0] for name in names]}
    address = ReportAddress(domain.organisation_id, None, None, names)
    arrival = Arrival(Door.HTTPS, address, json_body(report), clock.now())
    incoming = read_arrival(arrival, DEFAULT_LIMITS).judged(Judgement(Trust.UNVERIFIED))
    (digest,) = incoming.reports
    assert len(digest.shares) == 100
    assert size_of(incoming) > 100 * len(digest.parsed)


async def test_what_waits_for_the_writer_is_counted_with_what_was_read_from_it(
    transactional_db: None, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail of a few bytes can unpack to 25 MiB, and a locked database lets them pile up."""
    monkeypatch.setattr("mailward.ingest.writer.MAX_WAITING_BYTES", 100_000)
    share = ShareDigest(domain.pk, None, None, (), ())
    report = ReportDigest(b"h", b"{" * 60_000, b"[]", "", "", "", None, None, None, "", (share,))
    incoming = Incoming(
        organisation_id=domain.organisation_id,
        address_domain_id=domain.pk,
        door=Door.SMTP,
        content=b"few",
        received_at=clock.now(),
        judgement=Judgement(Trust.UNVERIFIED),
        reports=(report,),
    )
    with held_writes():
        writer = Writer()
        waiting = asyncio.ensure_future(writer.submit(incoming))
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy, match="too much is waiting"):
            await writer.submit(msgspec.structs.replace(incoming, content=b"another"))
    await waiting
    await writer.close()
