import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.dns import Fault
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab

from mailward.core.postfix.netstring import encode
from mailward.sender.daemon import Daemon
from mailward.sender.sockets import open_socket

QUESTION = encode(f"QUERY {DOMAIN}".encode())


@pytest.fixture
async def port(daemon: Daemon) -> AsyncIterator[int]:
    listener = open_socket("127.0.0.1:0", 0o666)
    await daemon.server.start([listener])
    yield int(listener.getsockname()[1])
    await daemon.server.stop()


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    async with await Client.connect(port) as client:
        yield client


async def test_many_questions_on_one_connection(lab: Lab, client: Client, daemon: Daemon) -> None:
    lab.publish()
    assert [await client.ask(DOMAIN) for _ in range(3)] == [SECURE] * 3
    assert await client.ask(".example.test") == "NOTFOUND "
    assert daemon.answers.metrics.memo_misses == 2
    assert sum(daemon.answers.metrics.answers.values()) == 4


async def test_questions_sent_ahead_are_answered_in_order(lab: Lab, client: Client) -> None:
    lab.publish()
    await client.send(QUESTION + encode(b"QUERY .x") + QUESTION * 200)
    answers = [await client.receive() for _ in range(202)]
    assert answers == [SECURE, "NOTFOUND ", *[SECURE] * 200]


async def test_a_question_may_come_byte_by_byte(lab: Lab, client: Client) -> None:
    lab.publish()
    for _ in range(2):
        for byte in QUESTION:
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await client.receive() == SECURE


async def test_what_is_no_netstring_is_a_clean_close(client: Client, daemon: Daemon) -> None:
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await client.ended()
    assert daemon.answers.metrics.malformed_total == 1


async def test_a_key_of_10_000_bytes_gets_an_answer(client: Client) -> None:
    assert await client.ask("x" * 10_000) == "NOTFOUND "


async def test_a_slow_domain_holds_up_nobody_else(lab: Lab, client: Client, port: int) -> None:
    lab.publish()
    lab.dns.fail(Fault.SILENCE, "_mta-sts.slow.test")
    await client.send(encode(b"QUERY slow.test"))
    async with await Client.connect(port) as other:
        assert await other.ask(DOMAIN) == SECURE


async def test_a_mistake_of_ours_defers(
    client: Client, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: bytes) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon.answers, "answer", fail)
    assert await client.ask(DOMAIN) == "TEMP an internal error; see the log of mailward sender"


async def test_a_client_that_does_not_read_is_not_read_from(lab: Lab, daemon: Daemon, port: int) -> None:
    lab.publish()
    _, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send_for_ever() -> None:
        while True:
            writer.write(QUESTION * 1000)
            await writer.drain()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(send_for_ever(), 1)
    waiting = max(len(connection._waiting) for connection in daemon.server._connections)
    assert waiting <= 64 + 262_144 // len(QUESTION)  # what one read of the socket brings, and no more
    writer.transport.abort()


async def test_stop_gives_the_answers_under_way(lab: Lab, client: Client, daemon: Daemon) -> None:
    lab.publish()
    await client.send(QUESTION)
    async with asyncio.timeout(5):
        while not lab.dns.queries:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0)
    await daemon.server.stop()
    assert await client.receive() == SECURE
    assert await client.ended()


async def test_a_unix_socket_too(lab: Lab, daemon: Daemon, tmp_path: Path) -> None:
    lab.publish()
    path = tmp_path / "s"
    await daemon.server.start([open_socket(f"unix:{path}", 0o660)])
    async with await Client.connect_unix(str(path)) as client:
        assert await client.ask(DOMAIN) == SECURE
    assert path.stat().st_mode & 0o777 == 0o660
    await daemon.server.stop()
