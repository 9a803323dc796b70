"""The mail door: only our addresses, 250 only once committed, everything bounded."""

import asyncio
import contextlib
import logging
import smtplib
import socket
import ssl
import struct
from typing import Any

import pytest
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, smtp

from mailward.ingest.channels import smtp as channel
from mailward.store.aio import in_store
from mailward.store.models import Domain, QuarantinedMessage, Report

GOOGLE = Signer("google.test")
MAIL = google_mail(report_json())
SIGNED = GOOGLE.sign(MAIL)

pytestmark = pytest.mark.usefixtures("domain")


def stored() -> list[tuple[str, str, str]]:
    return list(Report.objects.values_list("trust", "dkim", "signer"))


async def test_a_signed_report_is_verified(house: House) -> None:
    GOOGLE.publish(house.dns)
    assert await house.mail(SIGNED) == "250 2.0.0 Stored"
    assert await in_store(stored) == [("verified", "pass", "google.test")]


@pytest.mark.parametrize(
    "raw, expected",
    [
        (MAIL, ("unverified", "absent", "")),
        (SIGNED.replace(b"aggregate", b"Aggregate"), ("failed", "fail", "")),
        (Signer("evil.test").sign(MAIL), ("failed", "fail", "")),
        (GOOGLE.sign(MAIL, extra_tags="l=1; "), ("failed", "fail", "")),
        (Signer("google.test", selector="old").sign(MAIL), ("unverified", "key-gone", "")),
    ],
    ids=["unsigned", "changed", "not aligned", "l=", "key gone"],
)
async def test_the_verdict_is_kept(house: House, raw: bytes, expected: tuple[str, str, str]) -> None:
    GOOGLE.publish(house.dns)
    assert (await house.mail(raw)).startswith("250")
    assert await in_store(stored) == [expected]


async def test_a_mail_without_a_report_is_kept_in_quarantine(house: House) -> None:
    assert (await house.mail(b"Subject: hello\r\n\r\nNo report.\r\n")).startswith("250")
    assert await in_store(QuarantinedMessage.objects.count) == 1


@pytest.mark.parametrize(
    "recipient, reply",
    [
        ("nobody@reports.localhost", "550 5.1.1"),
        ("postmaster@reports.localhost", "550 5.1.1"),
        ("dom-example@elsewhere.test", "550 5.7.1"),
        ("dom-example", "550 5.7.1"),
        ("x" * 300 + "@reports.localhost", "550 5.1.1"),
    ],
)
async def test_only_addresses_that_we_gave_out_are_taken(house: House, recipient: str, reply: str) -> None:
    assert (await house.mail(MAIL, recipient)).startswith(reply)


async def test_an_address_may_change_its_case_on_the_way(house: House) -> None:
    assert (await house.mail(MAIL, "Dom-EXAMPLE@Reports.LOCALHOST")).startswith("250")


async def test_one_mail_to_two_of_our_addresses_is_stored_for_each(house: House, domain: Domain) -> None:
    recipients = (ADDRESS, "org-example@reports.localhost", ADDRESS)
    assert (await house.mail(MAIL, *recipients)).startswith("250")
    report = await in_store(Report.objects.get)
    assert (report.domain_id, report.copies) == (domain.pk, 2)


async def test_the_organisations_address_routes_by_policy_domain(house: House, domain: Domain) -> None:
    foreign = google_mail(report_json("elsewhere.test"), report_domain="elsewhere.test")
    for raw in (MAIL, foreign):
        assert (await house.mail(raw, "org-example@reports.localhost")).startswith("250")
    rows = await in_store(lambda: set(Report.objects.values_list("domain_id", flat=True)))
    assert rows == {domain.pk, None}


async def test_a_mail_that_is_too_large_is_refused(house: House) -> None:
    reply = await house.mail(MAIL + b"x" * 70 * 3_000 + b"\r\n")
    assert reply.startswith("552")
    async with smtp(house.doors.smtp_port) as client:
        assert (await client.command("MAIL FROM:<a@b.test> SIZE=300000")).startswith("552")


async def test_a_mail_without_line_ends_is_cut_off(house: House) -> None:
    async with smtp(house.doors.smtp_port) as client:
        await client.command("MAIL FROM:<a@b.test>")
        await client.command(f"RCPT TO:<{ADDRESS}>")
        await client.command("DATA")
        client.writer.write(b"x" * 500_000)
        with contextlib.suppress(ConnectionError):
            assert await client.reader.read() in (b"", b"421 4.3.1 Too much data\r\n")
        assert client.reader.at_eof() or client.reader.exception()


async def test_what_is_no_business_of_ours_is_not_offered(house: House) -> None:
    async with smtp(house.doors.smtp_port, greet=False) as client:
        assert (await client.reply()).startswith("220 reports.localhost")
        hello = await client.command("EHLO client.test")
        assert {line[4:].split(" ")[0] for line in hello.splitlines()[1:]} == {
            "SIZE",
            "8BITMIME",
            "STARTTLS",
            "HELP",
        }
        for command in ("VRFY dom-example", "EXPN list", "AUTH PLAIN AGEAYg=="):
            assert (await client.command(command)).startswith("502"), command
        assert (await client.command("NONSENSE")).startswith("500")


async def test_reports_come_by_starttls_too(house: House) -> None:
    def send() -> None:
        context = ssl.create_default_context(cafile=f"{house.settings.data}/ca/ca.pem")
        with smtplib.SMTP("127.0.0.1", house.doors.smtp_port, timeout=20) as client:
            client._host = "reports.localhost"  # type: ignore[attr-defined]  # the name to check
            client.starttls(context=context)
            client.sendmail("noreply@google.test", [ADDRESS], MAIL)

    await asyncio.to_thread(send)
    assert await in_store(Report.objects.count) == 1


@pytest.mark.parametrize("named", [None, "127.0.0.1", "mx.example.test"])
async def test_starttls_works_whatever_name_the_sender_asks_for(house: House, named: str | None) -> None:
    """RFC 8460 section 3: reports come despite TLS failures. Postfix, where it checks nothing, names nobody."""

    def shake_hands() -> bytes | None:
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", house.doors.smtp_port), timeout=20) as plain:
            plain.recv(512)
            plain.sendall(b"STARTTLS\r\n")
            assert plain.recv(512).startswith(b"220")
            with context.wrap_socket(plain, server_hostname=named) as encrypted:
                return encrypted.getpeercert(binary_form=True)

    assert await asyncio.to_thread(shake_hands)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_client_that_resets_the_connection_is_no_error_whatever_is_forgotten_first(
    house: House, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    """Python forgets what refers to itself in no fixed order, and a future whose error nobody read says so."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    gone, lose = asyncio.Event(), channel._Connection.connection_lost

    def lose_and_forget(connection: channel._Connection, error: Exception | None) -> None:
        lose(connection, error)
        del connection._closed  # type: ignore[attr-defined]  # asyncio does not show it
        gone.set()

    monkeypatch.setattr(channel._Connection, "connection_lost", lose_and_forget)
    await asyncio.to_thread(reset_a_connection, house.doors.smtp_port, encrypted=encrypted)
    async with asyncio.timeout(20):
        await gone.wait()
    assert said == []


def reset_a_connection(port: int, *, encrypted: bool) -> None:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.recv(512)
    if encrypted:
        connection.sendall(b"STARTTLS\r\n")
        connection.recv(512)
        connection = ssl._create_unverified_context().wrap_socket(connection)
    connection.sendall(b"NOOP\r\n")
    connection.recv(512)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def test_a_handshake_that_fails_is_one_line_in_the_log_and_no_error(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with smtp(house.doors.smtp_port) as client:
            assert (await client.command("STARTTLS")).startswith("220")
            client.writer.write(b"this is no hello\r\n")
            await client.reader.read()
    said = [record for record in caplog.records if record.name.startswith("mailward")]
    assert [(record.levelname, record.message) for record in said] == [("INFO", "starttls-failed")]
    assert all(record.exc_info is None for record in said)


async def test_guessing_addresses_ends_the_connection(house: House) -> None:
    async with smtp(house.doors.smtp_port) as client:
        await client.command("MAIL FROM:<a@b.test>")
        replies = [await client.command(f"RCPT TO:<guess{n}@reports.localhost>") for n in range(11)]
        assert [reply[:3] for reply in replies] == ["550"] * 10 + ["421"]
        assert await client.reader.read() == b""


async def test_commands_have_a_number(house: House) -> None:
    async with smtp(house.doors.smtp_port) as client:
        replies = [await client.command("NOOP") for _ in range(101)]
        assert replies[99].startswith("250")
        assert replies[100].startswith("421")


async def test_mails_follow_each_other_on_one_connection(house: House) -> None:
    async with smtp(house.doors.smtp_port) as client:
        for number in range(5):
            raw = google_mail(report_json(report_id=str(number)))
            assert (await client.send(raw, ADDRESS)).startswith("250")
    assert await in_store(Report.objects.count) == 5


async def test_a_line_that_begins_with_a_dot_arrives_whole(house: House) -> None:
    GOOGLE.publish(house.dns)
    raw = GOOGLE.sign(MAIL.replace(b"\r\nThis is an", b"\r\n.This is an"))
    await house.mail(raw)
    assert (await in_store(stored))[0][0] == "verified"
    report = await in_store(Report.objects.select_related("raw").get)
    assert bytes(report.raw.content) == raw


@pytest.mark.parametrize(
    "sent, arrives",
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\n.\n\r.\r\n.\r\n", b"a\n.\n\r.\r\n"),
        (b"a.\r\n\r\n..\r\n.\r\n", b"a.\r\n\r\n.\r\n"),
    ],
)
async def test_a_mail_ends_at_its_dot_alone(house: House, sent: bytes, arrives: bytes) -> None:
    async with smtp(house.doors.smtp_port) as client:
        for cut in range(len(sent)):
            await client.command("MAIL FROM:<a@b.test>")
            await client.command(f"RCPT TO:<{ADDRESS}>")
            await client.command("DATA")
            client.writer.write(sent[:cut])
            await asyncio.sleep(0.01)
            client.writer.write(sent[cut:] + b"NOOP\r\n")
            assert (await client.reply()).startswith("250 2.0.0")
            assert (await client.reply()).startswith("250")
    kept = await in_store(lambda: list(QuarantinedMessage.objects.values_list("raw__content", flat=True)))
    assert {bytes(each) for each in kept} == {arrives}


async def test_lines_that_end_in_dots_cost_no_more_than_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = 0

    readuntil = asyncio.StreamReader.readuntil

    async def counting(reader: asyncio.StreamReader, separator: bytes = b"\n") -> bytes:
        nonlocal pieces
        pieces += 1
        return await readuntil(reader, separator)

    monkeypatch.setattr(asyncio.StreamReader, "readuntil", counting)
    assert (await house.mail(b"x.\r\n" * 30_000)).startswith("250")
    assert pieces < 100
