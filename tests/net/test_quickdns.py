"""What is plain is read without dnspython, and says the same; the rest is left to it; tests/fuzz compares."""

import pytest
from tests.fakes.dns import FakeDns

from mailward.net import quickdns
from mailward.net.answers import Answer, Status


async def ask(dns: FakeDns, name: str, rdtype: str) -> Answer[str] | Answer[bytes] | None:
    query = quickdns.build_query(name, rdtype)
    assert query is not None
    return quickdns.read_response(await quickdns.exchange(query, "127.0.0.1", dns.port, 5), query)


@pytest.mark.parametrize(
    "rdtype, text, record",
    [
        ("TXT", "v=STSv1;", b"v=STSv1;"),
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:db8::1", "2001:db8::1"),
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
