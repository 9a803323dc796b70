"""The webhook client against a server that misbehaves on demand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.fakes.dns import FakeDns

from mailward.net import webpost
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.net.webpost import PostError, post_json

LAB = Guard(allow_private=True)


@asynccontextmanager
async def server(answer: bytes, seen: list[bytes]) -> AsyncIterator[int]:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(answer)
        if not answer:
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            await ended.wait()


async def post(url: str, guard: Guard = LAB) -> None:
    async with FakeDns() as dns:
        dns.set("hook.test", "A", "127.0.0.1")
        await post_json(url, b'{"a": 1}', resolver=Resolver([dns.address]), guard=guard)


async def test_a_document_is_posted() -> None:
    seen: list[bytes] = []
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n", seen) as port:
        await post(f"http://hook.test:{port}/x?y=1")
    assert seen[0].startswith(f"POST /x?y=1 HTTP/1.1\r\nHost: hook.test:{port}\r\n".encode())
    assert seen[0].endswith(b'\r\n\r\n{"a": 1}')


ANSWERS = [
    (b"HTTP/1.1 500 No\r\n\r\n", "it answered 500"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "it answered 302"),
    (b"SSH-2.0-x\r\n", "does not speak HTTP"),
    (b"x" * 100_000, "limit"),
]


@pytest.mark.parametrize("answer, reason", ANSWERS)
async def test_what_is_no_success_is_told(answer: bytes, reason: str) -> None:
    async with server(answer, []) as port:
        with pytest.raises(PostError, match=reason):
            await post(f"http://hook.test:{port}/")


async def test_a_silent_server_costs_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webpost, "TOTAL_SECONDS", 0.2)
    async with server(b"", []) as port:
        with pytest.raises(PostError, match="no answer within"):
            await post(f"http://hook.test:{port}/")


async def test_an_address_is_not_asked_for_in_dns() -> None:
    seen: list[bytes] = []
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n", seen) as port:
        await post(f"http://127.0.0.1:{port}/")
    assert len(seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1]:1/"])
async def test_a_private_address_in_the_url_is_refused_too(url: str) -> None:
    with pytest.raises(PostError, match="loopback"):
        await post(url, Guard())


async def test_a_private_address_is_refused() -> None:
    with pytest.raises(PostError, match="loopback"):
        await post("http://hook.test:1/", Guard())


@pytest.mark.parametrize(
    "url", ["ftp://hook.test/", "http:///", "http://a:b@hook.test/", "http://hook.test:x/", "x"]
)
async def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(PostError):
        await post(url)
