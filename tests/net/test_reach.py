"""Who answers at a name in our place, and what is told of it."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns

from mailward.config import Settings
from mailward.net.guard import Guard
from mailward.net.reach import Reach, look
from mailward.net.resolver import Resolver
from mailward.net.sealing import load_keyring


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "it answers 404"),
        (b"HTTP/1.0 \0\0\0\r\n\r\n", "it answers no HTTP"),
        (b"\xff\x1b[31m", "it answers no HTTP"),
    ],
)
async def test_what_a_stranger_s_server_says_is_told_in_our_words(
    tmp_path: Path, said: bytes, told: str
) -> None:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, FakeDns() as dns:
        dns.set("mta-sts.example.test", "A", "127.0.0.1")
        guard = Guard(allow_private=True)
        resolver = Resolver([dns.address], authoritative_override=[dns.address], guard=guard)
        keyring = load_keyring(Settings(data=str(tmp_path)))
        seen = await look("mta-sts.example.test", resolver=resolver, guard=guard, keyring=keyring, port=port)
    assert seen.reach is Reach.ELSEWHERE
    assert seen.detail == f"127.0.0.1 port {port} is another server ({told})"
