import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.policyhost import GOOD_POLICY, PolicyHost, Script, http
from tests.fakes.silent import silent_port

from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain
from mailward.core.tlsrpt.results import ResultType
from mailward.net.fetch import FetchError, FetchResult, fetch_policy, fetch_policy_at, introduce
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver

DOMAIN = Domain("example.test")
HOST = "mta-sts.example.test"
LAB_GUARD = Guard(allow_private=True)


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        server.set(HOST, "A", "127.0.0.1")
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Lab:
    """One domain with its DNS, authority and policy host."""

    def __init__(self, dns: FakeDns, authority: Authority) -> None:
        self.dns, self.authority = dns, authority

    async def fetch(self, response: bytes | Script, *names: str) -> FetchResult:
        context = self.authority.issue(*(names or (HOST,)))
        return await self.fetch_from(PolicyHost(context, response))

    async def fetch_from(self, host: PolicyHost, *, total_seconds: float = 5) -> FetchResult:
        async with host.running():
            return await fetch_policy(
                DOMAIN,
                resolver=Resolver([self.dns.address], timeout_seconds=1),
                guard=LAB_GUARD,
                ca_file=self.authority.file,
                port=host.port,
                total_seconds=total_seconds,
            )

    async def fail(self, response: bytes | Script, *names: str) -> FetchError:
        with pytest.raises(FetchError) as caught:
            await self.fetch(response, *names)
        return caught.value


@pytest.fixture
def lab(dns: FakeDns, authority: Authority) -> Lab:
    return Lab(dns, authority)


async def test_a_policy_comes_with_what_was_seen_on_the_way(lab: Lab) -> None:
    host = PolicyHost(lab.authority.issue(HOST), http())
    result = await lab.fetch_from(host)
    assert result.policy == Policy(Mode.ENFORCE, 604800, ("mx1.example.test",))
    assert (result.body, result.address, result.content_type) == (GOOD_POLICY, "127.0.0.1", "text/plain")
    assert (result.tls.version, result.tls.names, result.tls.issuer) == ("TLSv1.3", (HOST,), "Test Authority")
    request = host.requests[0].split(b"\r\n")
    assert request[0] == b"GET /.well-known/mta-sts.txt HTTP/1.1"
    assert f"Host: {HOST}:{host.port}".encode() in request


async def test_a_connection_is_forgotten_with_its_result_and_not_when_garbage_is_collected(lab: Lab) -> None:
    gc.disable()
    try:
        connection = weakref.ref((await lab.fetch(http())).connection)
        assert connection() is None
    finally:
        gc.enable()


async def test_s19_the_policy_host_is_named_by_sni(lab: Lab) -> None:
    host = PolicyHost(lab.authority.issue(HOST), http())
    await lab.fetch_from(host)
    assert host.names == [HOST]


@pytest.mark.parametrize(
    "response, why",
    [
        (http(content_type="text/plain; charset=iso-8859-1; x=y"), "S5: parameters are ignored"),
        (http(content_type="Text/Plain"), "media types have no case"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + GOOD_POLICY,
            "the connection's end is the body's end",
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + GOOD_POLICY, "HTTP/1.0"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD_POLICY), GOOD_POLICY),
            "chunked",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http(), "a head before the head"),
    ],
)
async def test_every_honest_form_of_response_is_read(lab: Lab, response: bytes, why: str) -> None:
    assert (await lab.fetch(response)).body == GOOD_POLICY, why


async def test_a_wildcard_certificate_for_the_whole_label_is_good(lab: Lab) -> None:
    assert (await lab.fetch(http(), "*.example.test")).body == GOOD_POLICY


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x" * 4096)
        await writer.drain()


async def endless_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Padding: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def endless_hints(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in http():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def expect(lab: Lab, response: bytes | Script, code: str) -> None:
    error = await lab.fail(response)
    assert (error.code, error.result_type) == (code, ResultType.STS_POLICY_FETCH_ERROR)
    assert error.address == "127.0.0.1"


@pytest.mark.parametrize(
    "status, code",
    [
        ("301 Moved", "redirect"),
        ("302 Found", "redirect"),
        ("308 Permanent Redirect", "redirect"),
        ("404 Not Found", "status"),
        ("204 No Content", "status"),
        ("206 Partial Content", "status"),
        ("500 Oops", "status"),
    ],
)
async def test_s6_no_redirect_is_followed_and_only_200_counts(lab: Lab, status: str, code: str) -> None:
    await expect(lab, http(status=status, extra="Location: https://www.example.test/\r\n"), code)


@pytest.mark.parametrize(
    "response, code",
    [
        (http(content_type="text/html"), "media-type"),
        (http(content_type="application/octet-stream"), "media-type"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "media-type"),
        (http(extra="Content-Type: text/html\r\n"), "media-type"),
        (http(extra="Content-Encoding: gzip\r\n"), "content-encoding"),
    ],
)
async def test_s5_the_media_type_must_be_text_plain(lab: Lab, response: bytes, code: str) -> None:
    await expect(lab, response, code)


@pytest.mark.parametrize("response", [http(b"x" * 65537), endless, endless_head, endless_hints])
async def test_s9_endless_responses_are_cut_off(lab: Lab, response: bytes | Script) -> None:
    await expect(lab, response, "too-large")


@pytest.mark.parametrize(
    "response, code",
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\n" + GOOD_POLICY,
            "truncated",
        ),
        (b"", "truncated"),
        (b"220 mx.example.test ESMTP\r\n", "http-syntax"),
        (b"\x00\x01\x02" * 100, "http-syntax"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http-syntax"),
    ],
)
async def test_what_is_no_whole_response_is_a_fetch_error(lab: Lab, response: bytes, code: str) -> None:
    await expect(lab, response, code)


async def test_a_policy_that_nobody_may_use_is_its_own_result_type(lab: Lab) -> None:
    error = await lab.fail(http(b"version: STSv1\nmode: enforce\nmax_age: 60\n"))
    assert (error.code, error.result_type) == ("policy-invalid", ResultType.STS_POLICY_INVALID)
    assert [problem.code for problem in error.problems] == ["max-age-short", "mx-missing"]
    assert "no mx field" in str(error)
    assert error.body.startswith(b"version")


@pytest.mark.parametrize("script", [silent, trickle])
async def test_s9_a_slow_host_costs_a_bounded_wait(lab: Lab, script: Script) -> None:
    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        await lab.fetch_from(PolicyHost(lab.authority.issue(HOST), script), total_seconds=0.3)
    assert caught.value.code == "timeout"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "names, common_name, expires_in, self_signed, code",
    [
        ((HOST,), "", timedelta(hours=-1), False, "certificate-expired"),
        (("www.example.test",), "", timedelta(days=1), False, "certificate-name"),
        (("*.test",), "", timedelta(days=1), False, "certificate-name"),
        (("mta-*.example.test",), "", timedelta(days=1), False, "certificate-name"),
        ((), HOST, timedelta(days=1), False, "certificate-name"),  # the common name does not count
        ((HOST,), "", timedelta(days=1), True, "certificate-self-signed"),
    ],
)
async def test_p6_bad_certificates_are_a_webpki_error(
    lab: Lab, names: tuple[str, ...], common_name: str, expires_in: timedelta, self_signed: bool, code: str
) -> None:
    context = lab.authority.issue(
        *names, common_name=common_name, expires_in=expires_in, self_signed=self_signed
    )
    with pytest.raises(FetchError) as caught:
        await lab.fetch_from(PolicyHost(context, http()))
    assert (caught.value.code, caught.value.result_type) == (code, ResultType.STS_WEBPKI_INVALID)
    assert "OpenSSL" in str(caught.value)


async def test_s7_only_dns_ids_are_matched(lab: Lab) -> None:
    # the host stands in the common name alone, as it did before names had a place of their own
    context = lab.authority.issue("www.example.test", common_name=HOST)
    with pytest.raises(FetchError) as caught:
        await lab.fetch_from(PolicyHost(context, http()))
    assert (caught.value.code, caught.value.result_type) == (
        "certificate-name",
        ResultType.STS_WEBPKI_INVALID,
    )


async def test_p6_an_authority_that_nobody_trusts_is_a_webpki_error(lab: Lab, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other Authority")
    with pytest.raises(FetchError) as caught:
        await lab.fetch_from(PolicyHost(other.issue(HOST), http()))
    assert (caught.value.code, caught.value.result_type) == (
        "certificate-untrusted",
        ResultType.STS_WEBPKI_INVALID,
    )


async def test_a_host_that_speaks_no_tls_is_named(lab: Lab) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        with pytest.raises(FetchError) as caught:
            await fetch(lab, server.sockets[0].getsockname()[1])
    assert (caught.value.code, caught.value.result_type) == ("tls", ResultType.STS_POLICY_FETCH_ERROR)


async def fetch(lab: Lab, port: int, guard: Guard = LAB_GUARD) -> FetchResult:
    resolver = Resolver([lab.dns.address], timeout_seconds=0.5)
    return await fetch_policy(DOMAIN, resolver=resolver, guard=guard, ca_file=lab.authority.file, port=port)


async def test_a_closed_port_is_named(lab: Lab) -> None:
    with pytest.raises(FetchError) as caught:
        await fetch(lab, 1)
    assert caught.value.code == "connect"
    assert "127.0.0.1, port 1" in str(caught.value)


async def test_the_next_address_serves_for_a_dead_one(lab: Lab) -> None:
    lab.dns.set(HOST, "AAAA", "::1")  # asked first, and nobody listens there
    assert (await lab.fetch(http())).address == "127.0.0.1"


async def test_addresses_of_our_own_network_are_not_connected_to(lab: Lab) -> None:
    with pytest.raises(FetchError) as caught:
        await fetch(lab, 1, Guard())
    assert (caught.value.code, caught.value.address) == ("address-refused", "127.0.0.1")


@pytest.mark.parametrize("fault, words", [(None, "does not exist"), (Fault.SERVFAIL, "SERVFAIL")])
async def test_a_host_without_address_is_named(lab: Lab, fault: Fault | None, words: str) -> None:
    lab.dns.remove(HOST, "A")
    if fault:
        lab.dns.fail(fault)
    with pytest.raises(FetchError, match=words) as caught:
        await fetch(lab, 1)
    assert caught.value.code == "dns"


async def test_the_host_may_be_an_alias(lab: Lab) -> None:
    lab.dns.remove(HOST, "A")
    lab.dns.set(HOST, "CNAME", "policy.provider.test.")
    lab.dns.set("policy.provider.test", "A", "127.0.0.1")
    assert (
        await lab.fetch(http())
    ).body == GOOD_POLICY  # P6: the certificate is the customer's name all the same


async def test_an_unusable_ca_file_is_named(lab: Lab, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    lab.authority.file = broken
    with pytest.raises(FetchError) as caught:
        await fetch(lab, 1)
    assert caught.value.code == "ca-file"


async def test_policy_hosts_are_told_where_to_read_who_asks(lab: Lab) -> None:
    host = PolicyHost(lab.authority.issue(HOST), http())
    try:
        for contact in ("https://probe.example.net/who", "x\r\nEvil: 1", "a)b", ""):
            introduce(contact)
            await lab.fetch_from(host)
    finally:
        introduce("")
    agents = [
        line for head in host.requests for line in head.split(b"\r\n") if line.startswith(b"User-Agent")
    ]
    plain = b"User-Agent: Mailward (MTA-STS policy fetch)"
    assert agents == [plain[:-1] + b"; +https://probe.example.net/who)", plain, plain, plain]


async def test_whether_anybody_took_the_connection_is_told() -> None:
    """Where nobody did, that is so whatever the name; a server that says nothing may do so for one name alone."""

    async def fail(port: int) -> tuple[str, bool]:
        with pytest.raises(FetchError) as caught:
            await fetch_policy_at(DOMAIN, "127.0.0.9", guard=LAB_GUARD, port=port, connect_seconds=0.3)
        return caught.value.code, caught.value.is_connected

    with silent_port("127.0.0.9") as port:
        assert await fail(port) == ("connect-timeout", False)
    assert await fail(port) == ("connect", False)
    with socket.create_server(("127.0.0.9", 0)) as hanging:
        assert await fail(hanging.getsockname()[1]) == ("connect-timeout", True)
