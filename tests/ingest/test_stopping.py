"""A mail door that is told to stop: no mail is put off that can still be taken."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, smtp

from mailward.ingest.acceptor import Acceptor
from mailward.ingest.addresses import AddressBook
from mailward.ingest.channels.smtp import SmtpServer, serve_smtp
from mailward.net.listening import open_stream

pytestmark = pytest.mark.usefixtures("domain")
MAIL = google_mail(report_json())


@pytest.fixture
async def door(house: House) -> AsyncIterator[SmtpServer]:
    acceptor = Acceptor(house.settings)
    listener = open_stream(("127.0.0.1", 0))
    server = await serve_smtp(acceptor, AddressBook(), domain="reports.localhost", sockets=[listener])
    yield server
    await server.close()
    await acceptor.close()


async def test_who_is_in_the_middle_of_a_mail_is_let_finish(door: SmtpServer) -> None:
    async with smtp(door.port) as client:
        await client.command("MAIL FROM:<noreply@google.test>")
        closing = asyncio.create_task(door.close())
        await asyncio.sleep(0.1)
        await client.command(f"RCPT TO:<{ADDRESS}>")
        assert (await client.command("DATA")).startswith("354")
        client.writer.write(MAIL + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("421")
        await closing


async def test_who_has_just_come_may_send_one_mail(door: SmtpServer) -> None:
    async with smtp(door.port, greet=False) as client:
        await client.reply()
        closing = asyncio.create_task(door.close())
        await asyncio.sleep(0.1)
        await client.command("EHLO client.test")
        assert (await client.send(MAIL, ADDRESS)).startswith("250")
        await closing


async def test_who_holds_a_connection_between_two_mails_is_told_at_once(door: SmtpServer) -> None:
    async with smtp(door.port) as client:
        assert (await client.send(MAIL, ADDRESS)).startswith("250")
        closing = asyncio.create_task(door.close())
        async with asyncio.timeout(1):
            assert (await client.reply()).startswith("421")
        await closing


async def test_who_says_nothing_keeps_nobody_waiting_for_long(door: SmtpServer) -> None:
    async with smtp(door.port) as client:
        async with asyncio.timeout(4):
            await door.close()
        assert (await client.reply()).startswith("421")
