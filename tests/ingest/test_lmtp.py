"""RFC 2033 at the mail door: a relay of ours greets with LHLO, and hears of each recipient."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, SmtpClient, smtp

from mailward.config import Settings
from mailward.ingest.accept import Arrival
from mailward.ingest.acceptor import Acceptor
from mailward.ingest.doors import open_doors
from mailward.ingest.errors import StoreBusy
from mailward.store.aio import in_store
from mailward.store.models import Report
from mailward.store.services.incoming import Stored

GOOGLE = Signer("google.test")
SIGNED = GOOGLE.sign(google_mail(report_json()))
ORGANISATION = "org-example@reports.localhost"

pytestmark = pytest.mark.usefixtures("domain")


@pytest.fixture
async def relay(house: House) -> AsyncIterator[SmtpClient]:
    """It has greeted."""
    async with smtp(house.doors.smtp_port, greet=False) as client:
        await client.reply()
        greeting = await client.command("LHLO mx.provider.test")
        assert greeting.startswith("250-reports.localhost\n250-PIPELINING\n250-ENHANCEDSTATUSCODES\n")
        yield client


async def hand_over(client: SmtpClient, raw: bytes, *recipients: str) -> list[str]:
    """Every reply after the mail."""
    assert (await client.send(b"")).startswith("503")  # RFC 2033 §4.2: no recipient, no DATA
    for recipient in recipients:
        assert (await client.command(f"RCPT TO:<{recipient}>")).startswith("250")
    assert (await client.command("DATA")).startswith("354")
    client.writer.write(raw + b".\r\n")
    return [await client.reply() for _ in recipients]


async def test_each_recipient_has_a_reply_of_its_own(
    house: House, relay: SmtpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one organisation has too much of, or cannot be stored for it, is not sent again for another."""
    GOOGLE.publish(house.dns)
    accept = Acceptor.accept

    async def accept_for_a_domain(self: Acceptor, arrival: Arrival) -> Stored:
        if arrival.address.domain_id is None:
            raise StoreBusy("not now")
        return await accept(self, arrival)

    monkeypatch.setattr(Acceptor, "accept", accept_for_a_domain)
    replies = await hand_over(relay, SIGNED, ADDRESS, ORGANISATION, ADDRESS)
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "451 4.3.0", "250 2.0.0"]
    report = await in_store(Report.objects.get)
    assert (report.trust, report.copies) == ("verified", 1)


async def test_what_is_too_large_is_refused_for_each(relay: SmtpClient) -> None:
    replies = await hand_over(relay, b"x" * 70 * 3_000 + b"\r\n", ADDRESS, ORGANISATION)
    assert [reply[:9] for reply in replies] == ["552 5.3.4"] * 2
    assert (await hand_over(relay, SIGNED, ADDRESS))[0].startswith("250")


async def test_commands_come_in_one_piece(relay: SmtpClient) -> None:
    """RFC 2033 §5: PIPELINING, as Postfix makes use of it."""
    lines = ["MAIL FROM:<>", "RCPT TO:<nobody@reports.localhost>", f"RCPT TO:<{ADDRESS}>", "DATA"]
    relay.writer.write("".join(f"{line}\r\n" for line in lines).encode())
    assert [(await relay.reply())[:3] for _ in lines] == ["250", "550", "250", "354"]
    relay.writer.write(SIGNED + b".\r\nQUIT\r\n")
    assert [(await relay.reply())[:3] for _ in range(2)] == ["250", "221"]


async def test_smtp_and_lmtp_do_not_mix(relay: SmtpClient) -> None:
    for greeting in ("EHLO mx.provider.test", "HELO mx.provider.test"):
        assert (await relay.command(greeting)).startswith("500 5.5.1")


@pytest.fixture
def no_relays(settings_of_doors: Settings) -> Settings:
    own = msgspec.structs.replace(settings_of_doors.reports, relays=("192.0.2.1",))
    return msgspec.structs.replace(settings_of_doors, reports=own)


async def test_strangers_speak_smtp(no_relays: Settings, transactional_db: None) -> None:
    async with open_doors(no_relays) as doors, smtp(doors.smtp_port, greet=False) as client:
        await client.reply()
        assert (await client.command("LHLO stranger.test")).startswith("500 5.5.1")
        assert (await client.command("EHLO stranger.test")).startswith("250-")


async def test_port_25_is_smtps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 2033 §5."""
    monkeypatch.setattr("mailward.ingest.channels.smtp.LMTP_FORBIDDEN_PORT", house.doors.smtp_port)
    async with smtp(house.doors.smtp_port) as client:
        assert (await client.command("LHLO mx.provider.test")).startswith("500 5.5.1")
