"""Many connections that do nothing keep nobody with a report out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, SmtpClient, smtp

from mailward.ingest.acceptor import Acceptor
from mailward.ingest.addresses import AddressBook
from mailward.ingest.channels import smtp as channel
from mailward.ingest.channels.smtp import SmtpLimits, SmtpServer, serve_smtp
from mailward.net.listening import open_stream

pytestmark = pytest.mark.usefixtures("domain")
MAIL = google_mail(report_json())


@pytest.fixture
async def door(house: House) -> AsyncIterator[SmtpServer]:
    """A door with room for three."""
    acceptor = Acceptor(house.settings)
    server = await serve_smtp(
        acceptor,
        AddressBook(),
        domain="reports.localhost",
        sockets=[open_stream(("127.0.0.1", 0))],
        limits=SmtpLimits(connections=3),
    )
    yield server
    await server.close()
    await acceptor.close()


async def test_one_that_did_nothing_for_longest_gives_way(
    door: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STALLED_SECONDS", 0.2)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(smtp(door.port)) for _ in range(3)]
        await clients[1].command("MAIL FROM:<a@b.test>")
        await clients[1].command(f"RCPT TO:<{ADDRESS}>")
        await clients[1].command("DATA")
        await asyncio.sleep(0.3)
        await clients[0].command("NOOP")
        await asyncio.sleep(0.1)
        # a byte now and then, never a line, is nothing done
        clients[2].writer.write(b"N")
        late = await stack.enter_async_context(smtp(door.port))
        assert (await late.send(MAIL, ADDRESS)).startswith("250")
        assert [await ended(client) for client in clients] == [False, False, True]


async def test_while_all_are_at_work_a_new_one_is_told_to_come_later(door: SmtpServer) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(smtp(door.port))
        late = await stack.enter_async_context(smtp(door.port, greet=False))
        assert (await late.reply()).startswith("421 4.3.2 Too many connections")


async def ended(client: SmtpClient) -> bool:
    try:
        async with asyncio.timeout(0.2):
            return not await client.reader.read(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
