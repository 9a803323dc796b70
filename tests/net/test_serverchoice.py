"""The context is chosen by a quick look at the client's hello: what OpenSSL reads in it counts all the same."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from mailward.config import Settings
from mailward.core.tls.hello import make_hello
from mailward.net.certificates import Certificates
from mailward.net.httpmessage import Request, Response
from mailward.net.httpserver import serve_http
from mailward.net.tlspipe import guess_server_name

REAL, DECOY = "mta-sts.real.test", "decoy.test"
ECDSA_AES128_GCM = 0xC02B
# RFC 6066 §3, in the place of the hello's random octets
LOOKS_LIKE_A_NAME = b"\0\0\0\x0f\0\x0d\0\0\x0a" + DECOY.encode() + bytes(13)


def hello_of(name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    written = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), written, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return written.read()


async def answer_to(hello: bytes, folder: Path) -> bytes:
    """What the policy host's way of choosing sends for the hello of a client that then says nothing."""
    certificates = Certificates(
        Settings(data=str(folder)), is_ours=lambda name: name in (REAL, DECOY), max_contexts=2
    )

    def answer(_: Request) -> Response:
        raise AssertionError("no request comes")

    server = await serve_http(
        answer,
        listen="127.0.0.1",
        ssl_context=certificates.server_context(),
        context_for=certificates.context_for,
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(hello)
    writer.write_eof()
    async with asyncio.timeout(20):
        told = await reader.read()
    writer.close()
    await server.close(grace_seconds=0)
    return told


@pytest.mark.parametrize("name", ["a.test", "mta-sts.Example.test", "xn--bcher-kva.test", "x" * 63 + ".test"])
def test_the_name_in_a_hello_is_seen(name: str) -> None:
    assert guess_server_name(hello_of(name)) == name.lower()


def test_a_hello_cut_anywhere_is_no_trouble() -> None:
    hello = hello_of("mta-sts.example.test")
    seen = {guess_server_name(hello[:size]) for size in range(len(hello))}
    assert None in seen
    assert all(name is None or "mta-sts.example.test".startswith(name) for name in seen)


async def test_octets_that_only_look_like_a_name_choose_no_certificate(tmp_path: Path) -> None:
    hello = make_hello(REAL, "TLSv1.2", [ECDSA_AES128_GCM], LOOKS_LIKE_A_NAME)
    assert guess_server_name(hello) == DECOY
    told = await answer_to(hello, tmp_path)
    # TLS 1.2 sends certificates in the clear
    assert REAL.encode() in told
    assert DECOY.encode() not in told


async def test_who_names_nothing_is_turned_away_whatever_its_hello_looks_like(tmp_path: Path) -> None:
    hello = make_hello("", "TLSv1.2", [ECDSA_AES128_GCM], LOOKS_LIKE_A_NAME)
    without = hello.replace(
        b"\0\0\0\x05\0\x03\0\0\0", b"\xfa\xfa\0\x05\0\x03\0\0\0"
    )  # another extension (RFC 8701)
    assert without != hello
    told = await answer_to(without, tmp_path)
    assert told == bytes.fromhex("1503030002") + bytes([2, 112])  # fatal, unrecognized_name (RFC 6066 §3)


async def test_the_choice_is_confirmed_to_the_client(tmp_path: Path) -> None:
    """RFC 6066 section 3: who uses the name says so, in an empty extension of the ServerHello."""
    told = await answer_to(make_hello(REAL, "TLSv1.2", [ECDSA_AES128_GCM], bytes(32)), tmp_path)
    size = int.from_bytes(told[3:5], "big")
    assert b"\0\0\0\0" in told[5 + 4 + 2 + 32 : 5 + size]
