"""What anybody can send has an end each day, signed or not; each signer has room besides."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.databases import held_writes
from tests.fakes.dns import FakeDns
from tests.fakes.evidence import make_domains
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, json_body, smtp

from mailward.config import Settings
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.ingest import acceptor
from mailward.ingest.accept import Arrival, read_arrival
from mailward.ingest.addresses import ReportAddress
from mailward.ingest.doors import open_doors
from mailward.ingest.errors import StoreBusy
from mailward.ingest.writer import Writer
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import Domain, Door, Organisation, QuarantinedMessage, Report, Trust
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


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for some reports of each signer, and for some more where there are more domains."""
    monkeypatch.setattr(acceptor, "MAX_SIGNED_BYTES_A_DAY", 10_000)
    monkeypatch.setattr(acceptor, "MAX_SIGNED_BYTES_A_DOMAIN", 1_000)


async def test_so_have_those_of_one_signer_under_any_name_and_others_go_on(
    little: None, house: House
) -> None:
    signers = [Signer(f"d{number % 3}.liar.test") for number in range(12)]
    for signer in (GOOGLE, *signers):
        signer.publish(house.dns)
    mails = [
        signer.sign(google_mail(report_json(report_id=str(at)), sender_domain=signer.domain))
        for at, signer in enumerate(signers)
    ]
    replies = [await house.mail(mail) for mail in mails]
    taken = await in_store(lambda: Report.objects.filter(trust=Trust.VERIFIED).count())
    assert [reply[:3] for reply in replies] == ["250"] * taken + ["452"] * (12 - taken)
    assert 2 <= taken <= 6
    assert (await house.mail(GOOGLE.sign(unsigned(1)))).startswith("250")
    assert (await house.mail(unsigned(2))).startswith("250")  # nor do strangers have less room for it
    with clock.frozen(clock.now() + timedelta(days=1)):
        assert (await house.mail(mails[-1])).startswith("250")


async def test_whoever_has_many_domains_gets_more_of_each_signer(
    little: None, house: House, organisation: Organisation
) -> None:
    GOOGLE.publish(house.dns)
    await in_store(make_domains, organisation, [f"d{number}.test" for number in range(20)])
    replies = {(await house.mail(GOOGLE.sign(unsigned(number))))[:3] for number in range(9)}
    assert replies == {"250"}


async def test_a_relay_of_ours_vouches_for_no_more(
    little: None, settings_of_doors: Settings, transactional_db: None
) -> None:
    reports = msgspec.structs.replace(settings_of_doors.reports, authserv_ids=("mx.reports.test",))
    vouched = b"Authentication-Results: mx.reports.test; dkim=pass header.d=google.test\r\n"
    async with (
        FakeDns() as dns,
        open_doors(
            msgspec.structs.replace(settings_of_doors, reports=reports), resolver=Resolver([dns.address])
        ) as doors,
        smtp(doors.smtp_port) as client,
    ):
        replies = [(await client.send(vouched + unsigned(number), ADDRESS))[:3] for number in range(9)]
    taken = await in_store(lambda: Report.objects.filter(trust=Trust.VOUCHED_RELAY).count())
    assert replies == ["250"] * taken + ["452"] * (9 - taken)
    assert 2 <= taken < 9


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
