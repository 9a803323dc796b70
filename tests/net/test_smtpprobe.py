"""Real sockets and certificates: what a look at an MX host says of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mailward.core.tlsrpt.results import ResultType
from mailward.lab.certs import Authority
from mailward.net import smtpprobe
from mailward.net.guard import Guard
from mailward.net.smtpprobe import AuthoritiesUnreadable, Seen, make_context, probe

HOST = "mx.a.test"
LAB = Guard(allow_private=True)


class Mx:
    """A server that plays its part and notes what it was told."""

    def __init__(self, context: ssl.SSLContext | None, greeting: bytes = b"220 mx.test\r\n") -> None:
        self.context, self.greeting = context, greeting
        self.starttls = b"220 go ahead\r\n"
        self.told: list[bytes] = []
        self.names: list[str | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        try:
            while line := await reader.readline():
                self.told.append(line)
                word = line.split()[0].upper()
                if word == b"EHLO":
                    writer.write(b"250-mx.test\r\n250 STARTTLS\r\n" if self.context else b"250 mx.test\r\n")
                elif word == b"STARTTLS":
                    writer.write(self.starttls)
                    if self.context is not None and self.starttls.startswith(b"220"):
                        await writer.start_tls(self.context)
                elif word == b"QUIT":
                    break
        except (ssl.SSLError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(mx: Mx) -> AsyncIterator[int]:
    if mx.context is not None:
        mx.context.sni_callback = lambda _, name, __: mx.names.append(name)
    server = await asyncio.start_server(mx.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def look(authority: Authority, mx: Mx, guard: Guard = LAB) -> Seen:
    async with running(mx) as port:
        seen = await probe(
            HOST, "127.0.0.1", make_context(authority.file), "probe.test", guard=guard, port=port
        )
        await asyncio.sleep(0)
        return seen


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_host_as_it_must_be_is_told_its_name_and_parted_from(authority: Authority) -> None:
    mx = Mx(authority.issue(HOST))
    assert await look(authority, mx) == Seen(True)
    assert mx.names == [HOST]
    assert mx.told[:2] == [b"EHLO probe.test\r\n", b"STARTTLS\r\n"]


async def test_a_wildcard_for_its_label_will_do(authority: Authority) -> None:
    assert await look(authority, Mx(authority.issue("*.a.test"))) == Seen(True)


async def test_certificates_that_are_not_what_they_must_be(authority: Authority) -> None:
    expired = authority.issue(HOST, expires_in=timedelta(days=-1))
    assert await look(authority, Mx(expired)) == Seen(
        True, ResultType.CERTIFICATE_EXPIRED, "certificate_has_expired"
    )
    other = await look(authority, Mx(authority.issue("other.test")))
    assert (other.result, other.reason) == (ResultType.CERTIFICATE_HOST_MISMATCH, "Hostname_mismatch")
    own = await look(authority, Mx(authority.issue(HOST, self_signed=True)))
    assert (own.result, own.reason) == (ResultType.CERTIFICATE_NOT_TRUSTED, "self-signed_certificate")


async def test_a_common_name_is_no_name(authority: Authority) -> None:
    seen = await look(authority, Mx(authority.issue("other.test", common_name=HOST)))
    assert seen.result is ResultType.CERTIFICATE_HOST_MISMATCH


async def test_a_host_without_starttls_or_that_refuses_it(authority: Authority) -> None:
    plain = await look(authority, Mx(None))
    assert (plain.was_seen, plain.result) == (True, ResultType.STARTTLS_NOT_SUPPORTED)
    refusing = Mx(authority.issue(HOST))
    refusing.starttls = b"454 not now\r\n"
    seen = await look(authority, refusing)
    assert (seen.result, seen.reason) == (ResultType.STARTTLS_NOT_SUPPORTED, "454 not now")


async def test_a_handshake_that_fails_is_no_word_about_a_certificate(authority: Authority) -> None:
    context = authority.issue(HOST)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    client = make_context(authority.file)
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    async with running(Mx(context)) as port:
        seen = await probe(HOST, "127.0.0.1", client, "probe.test", guard=LAB, port=port)
    assert seen == Seen(True, ResultType.VALIDATION_FAILURE, "tls-handshake-failure")
    assert not seen.is_certificate


async def test_who_turns_us_away_shows_nothing(authority: Authority) -> None:
    seen = await look(authority, Mx(authority.issue(HOST), b"554 you are on a list\r\n"))
    assert seen == Seen(False, None, "554 you are on a list")


async def test_nobody_there_and_addresses_that_are_not_connected_to(
    authority: Authority, unused_tcp_port: int
) -> None:
    context = make_context(authority.file)
    seen = await probe(HOST, "127.0.0.1", context, "probe.test", guard=LAB, port=unused_tcp_port)
    assert not seen.was_seen
    refused = await look(authority, Mx(authority.issue(HOST)), Guard())
    assert (refused.was_seen, "loopback" in refused.reason) == (False, True)


async def test_a_host_that_says_nothing_is_left(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtpprobe, "TOTAL_SECONDS", 0.2)
    seen = await look(authority, Mx(None, greeting=b""))
    assert seen == Seen(False, None, "no answer in time")


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AuthoritiesUnreadable):
        make_context(tmp_path / "none.pem")
