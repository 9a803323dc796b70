"""What is plain is read without dnspython, and says the same; the rest is left to it; tests/fuzz compares."""

import asyncio
import socket

import pytest
from tests.fakes.dns import FakeDns

from mailward.net import quickdns
from mailward.net.answers import Answer, Status


async def ask(dns: FakeDns, name: str, rdtype: str) -> Answer[str] | Answer[bytes] | None:
    query = quickdns.build_query(name, rdtype)
    assert query is not None
    return quickdns.read_response(await quickdns.QuickDns().exchange(query, "127.0.0.1", dns.port, 5), query)


@pytest.mark.parametrize(
    "rdtype, text, record",
    [
        ("TXT", "v=STSv1;", b"v=STSv1;"),
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:db8::1", "2001:db8::1"),
        ("MX", "10 Mail.a.test.", "10 mail.a.test"),
        ("MX", "0 .", "0 ."),
        ("TLSA", "3 1 1 " + "AB" * 32, "3 1 1 " + "ab" * 32),
    ],
)
async def test_plain_answers_are_read(rdtype: str, text: str, record: str | bytes) -> None:
    async with FakeDns(authenticated=True, ttl=7) as dns:
        dns.set("a.test", rdtype, text)
        assert await ask(dns, "A.test", rdtype) == Answer(Status.FOUND, (record,), authenticated=True, ttl=7)


async def test_what_is_absent_is_kept_as_the_soa_says() -> None:
    async with FakeDns(ttl=600) as dns:
        dns.set("a.test", "SOA", "ns.a.test. h.a.test. 1 3600 600 86400 30")
        assert await ask(dns, "a.test", "TXT") == Answer(Status.NODATA, ttl=30)
        assert await ask(dns, "x.a.test", "TXT") == Answer(Status.NXDOMAIN, ttl=30)


async def test_an_alias_is_left_to_dnspython() -> None:
    async with FakeDns() as dns:
        dns.set("a.test", "CNAME", "b.test.")
        dns.set("b.test", "A", "192.0.2.1")
        assert await ask(dns, "a.test", "A") is None


@pytest.mark.parametrize(
    "name", ["a..test", "b\N{LATIN SMALL LETTER U WITH DIAERESIS}.test", "x" * 64, "a b.test", ""]
)
def test_names_that_are_not_plain_are_left_to_dnspython(name: str) -> None:
    assert quickdns.build_query(name, "A") is None


def test_a_response_to_another_question_is_none() -> None:
    query, other = quickdns.build_query("a.test", "A"), quickdns.build_query("b.test", "A")
    assert query is not None
    assert other is not None
    response = bytearray(query)
    response[2] |= 0x80
    assert quickdns.answers(bytes(response), query)
    assert not quickdns.answers(query[:2] + bytes(response[2:12]) + other[12:], query)
    assert not quickdns.answers(bytes([query[0] ^ 1]) + bytes(response[1:]), query)
    assert not quickdns.answers(query, query)


async def test_questions_under_way_at_one_time_share_a_socket_and_leave_none() -> None:
    async with FakeDns() as dns:
        dns.set("a.test", "A", "192.0.2.1")
        client = quickdns.QuickDns()
        queries = [query for _ in range(200) if (query := quickdns.build_query("a.test", "A")) is not None]
        asked = [asyncio.ensure_future(client.exchange(query, "127.0.0.1", dns.port, 5)) for query in queries]
        await asyncio.sleep(0)
        assert len(client._channels["127.0.0.1", dns.port]) < 10
        wires = await asyncio.gather(*asked)
        assert [wire[:2] for wire in wires] == [query[:2] for query in queries]
        assert client._channels == {("127.0.0.1", dns.port): []}


async def test_a_closed_port_and_a_silent_one_are_told_to_all_who_wait() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        client = quickdns.QuickDns()
        queries = [query for _ in range(3) if (query := quickdns.build_query("a.test", "A")) is not None]
        work = [client.exchange(query, "127.0.0.1", port, 0.05) for query in queries]
        assert {type(error) for error in await asyncio.gather(*work, return_exceptions=True)} == {
            TimeoutError
        }
    work = [client.exchange(query, "127.0.0.1", port, 5) for query in queries]
    assert {type(error) for error in await asyncio.gather(*work, return_exceptions=True)} == {
        ConnectionRefusedError
    }
    assert client._channels == {("127.0.0.1", port): []}


def test_only_a_resolver_on_loopback_has_its_socket_shared() -> None:
    assert [
        quickdns._is_loopback(address) for address in ("127.0.0.53", "::1", "192.0.2.1", "2001:db8::1")
    ] == [
        True,
        True,
        False,
        False,
    ]
