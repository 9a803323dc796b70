"""The console's connections, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mailward.web import limits
from mailward.web.limits import BoundedBodies, BoundedProtocol


async def _echo_length(scope: Any, receive: Any, send: Any) -> None:
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One connection to a console that does nothing but count bytes."""
    config = uvicorn.Config(
        BoundedBodies(_echo_length), http=BoundedProtocol, lifespan="off", log_config=None
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length


async def test_a_body_within_the_limit_arrives_whole() -> None:
    async with served() as (reader, writer):
        writer.write(post(5) + b"hello")
        assert b"200" in await reader.readline()


async def test_a_body_that_announces_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 10)
    async with served() as (reader, writer):
        writer.write(post(11))
        assert b"413" in await reader.readline()


async def test_a_body_that_says_nothing_of_its_length_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 10)
    async with served() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"b\r\nhello hello\r\n")
        assert b"413" in await reader.readline()


async def test_who_connects_and_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    async with served() as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_who_sends_a_head_drop_by_drop_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    async with served() as (reader, writer):
        writer.write(post(5) + b"hello")
        await reader.readuntil(b"5")
        writer.write(b"GET / HT")
        assert b"HTTP/1.1 5" not in await asyncio.wait_for(reader.read(), 5)


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    async with served() as (reader, writer):
        writer.write(post(5) + b"hel")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"200" not in answer


@asynccontextmanager
async def ending() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a console that ends just after it has come."""
    config = uvicorn.Config(_echo_length, http=BoundedProtocol, lifespan="off", log_config=None, port=0)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # `serve` would take the signals of the tests
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    while not server.server_state.connections:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    server.should_exit = True
    await asyncio.sleep(0.3)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.wait_for(serving, 10)


async def test_who_has_just_come_when_the_console_ends_is_answered() -> None:
    async with ending() as (reader, writer):
        writer.write(post(5) + b"hello")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n5\r\n0\r\n\r\n")


async def test_who_says_nothing_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAST_HEAD_SECONDS", 0.4)
    async with ending() as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""
