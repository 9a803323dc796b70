import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.fakes.dns import FakeDns, Fault, Query

from mailward.config import Dns
from mailward.net.guard import Guard
from mailward.net.resolver import Answer, CachingResolver, Resolver, Status, make_resolver


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        server.set("example.test", "SOA", "ns1.example.test. hostmaster.example.test. 1 3600 600 86400 30")
        yield server


@pytest.fixture
def resolver(dns: FakeDns) -> Resolver:
    return Resolver([dns.address], timeout_seconds=5)


async def test_s2_txt_strings_are_joined_without_spaces(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("_mta-sts.example.test", "TXT", ("v=STSv1;", " id=a;"))
    answer = await resolver.txt("_mta-sts.example.test")
    assert answer == Answer(Status.FOUND, (b"v=STSv1; id=a;",), ttl=60)


async def test_bytes_that_are_no_text_are_passed_on(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("x.example.test", "TXT", b"\xff\x00")
    assert (await resolver.txt("x.example.test")).records == (b"\xff\x00",)


async def test_s2_cnames_are_followed_and_shown(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("a.example.test", "CNAME", "B.example.test.")
    dns.set("b.example.test", "CNAME", "c.example.test.")
    dns.set("c.example.test", "TXT", "here")
    answer = await resolver.txt("A.example.test.")
    assert (answer.records, answer.chain) == ((b"here",), ("b.example.test", "c.example.test"))


async def test_a_cname_to_nothing_says_where_it_led(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("a.example.test", "CNAME", "gone.example.test.")
    assert await resolver.txt("a.example.test") == Answer(
        Status.NXDOMAIN, ttl=30, chain=("gone.example.test",)
    )


async def test_a_cname_loop_ends(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("a.example.test", "CNAME", "b.example.test.")
    dns.set("b.example.test", "CNAME", "a.example.test.")
    answer = await resolver.txt("a.example.test")
    assert answer.status is Status.FAILED
    assert "CNAME" in answer.reason


async def test_no_such_name_and_no_such_record_differ(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("example.test", "A", "192.0.2.1")
    assert await resolver.txt("example.test") == Answer(Status.NODATA, ttl=30)
    assert await resolver.txt("no.example.test") == Answer(Status.NXDOMAIN, ttl=30)


async def test_the_ad_bit_is_passed_on(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("example.test", "TXT", "x")
    assert not (await resolver.txt("example.test")).authenticated
    dns.authenticated = True
    assert (await resolver.txt("example.test")).authenticated


async def test_mx_hosts_come_in_order_of_preference(dns: FakeDns, resolver: Resolver) -> None:
    dns.set(
        "example.test",
        "MX",
        "20 b.example.test.",
        "10 C.example.test.",
        "20 a.example.test.",
        "30 b.example.test.",
    )
    assert (await resolver.mx("example.test")).records == (
        "c.example.test",
        "a.example.test",
        "b.example.test",
    )


async def test_a_null_mx_is_no_host(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("example.test", "MX", "0 .")
    answer = await resolver.mx("example.test")
    assert (answer.status, answer.records) == (Status.NODATA, ())
    assert "null MX" in answer.reason


async def test_addresses_of_both_families_alternate(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("h.example.test", "A", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    dns.set("h.example.test", "AAAA", "2001:db8::1")
    answer = await resolver.addresses("h.example.test")
    assert answer.records[0] == "2001:db8::1"
    assert sorted(answer.records[1:]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]  # servers rotate them


async def test_one_broken_family_does_not_hide_the_other(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("h.example.test", "A", "192.0.2.1")
    dns.fail(Fault.SERVFAIL, "h.example.test", "AAAA")
    answer = await resolver.addresses("h.example.test")
    assert (answer.status, answer.records) == (Status.FOUND, ("192.0.2.1",))
    assert "SERVFAIL" in answer.reason


async def test_a_truncated_answer_is_asked_for_again_by_tcp(dns: FakeDns, resolver: Resolver) -> None:
    dns.set("big.example.test", "TXT", *(f"{number:04}" + "x" * 996 for number in range(20)))
    answer = await resolver.txt("big.example.test")
    assert len(answer.records) == 20
    assert [query.transport for query in dns.queries] == ["udp", "tcp"]


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED])
async def test_a_failing_server_is_named_with_its_answer(
    dns: FakeDns, resolver: Resolver, fault: Fault
) -> None:
    dns.fail(fault)
    answer = await resolver.txt("example.test")
    assert (answer.status, answer.reason) == (Status.FAILED, f"{dns.address} answers {fault.upper()}")


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.GARBAGE, Fault.FOREIGN_ID, Fault.OTHER_QUESTION])
async def test_what_is_no_answer_costs_a_bounded_wait(dns: FakeDns, fault: Fault) -> None:
    dns.set("example.test", "TXT", "x")
    dns.fail(fault)
    started = time.monotonic()
    answer = await Resolver([dns.address], timeout_seconds=0.3).txt("example.test")
    assert answer.status is Status.FAILED
    assert time.monotonic() - started < 2


async def test_the_next_server_answers_for_a_dead_one(dns: FakeDns) -> None:
    dns.set("example.test", "TXT", "x")
    async with FakeDns() as silent:
        silent.fail(Fault.SILENCE)
        answer = await Resolver([silent.address, dns.address], timeout_seconds=1).txt("example.test")
    assert answer.records == (b"x",)


@pytest.mark.parametrize(
    "name", ["a" * 64 + ".example.test", ".".join(["a" * 60] * 5), "a..b", "\\", "\x00\ud800"]
)
async def test_a_name_that_dns_cannot_hold_is_an_answer_too(resolver: Resolver, name: str) -> None:
    answer = await resolver.txt(name)
    assert answer.status is Status.FAILED
    assert "no name" in answer.reason


@pytest.mark.parametrize(
    "server", ["dns.example", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1:65536", "", "[::1]:"]
)
def test_what_is_no_server_is_refused_at_once(server: str) -> None:
    with pytest.raises(ValueError, match="is no server: it must be an IP address, or address:port"):
        Resolver([server])


def test_servers_may_be_ipv6() -> None:
    for text in ("::1", "[::1]", "[::1]:5353"):
        Resolver([text])


def delegate(dns: FakeDns, apex: str, *addresses: str) -> None:
    servers = [f"ns{number}.{apex}" for number in range(len(addresses))]
    dns.delegate(apex, *(f"{server}." for server in servers))
    for server, address in zip(servers, addresses, strict=True):
        dns.set(server, "A", address)


async def test_a_zones_own_servers_are_asked_past_the_resolver(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.1")
    dns.set("_mta-sts.example.test", "TXT", "stale")
    async with FakeDns() as authority:
        authority.set("_mta-sts.example.test", "TXT", "fresh")
        resolver = Resolver(
            [dns.address], guard=Guard(True), authority_port=authority.port, timeout_seconds=5
        )
        answer = await resolver.lookup_authoritative("_mta-sts.example.test", "TXT")
    assert (answer.status, answer.records) == (Status.FOUND, (b"fresh",))
    assert authority.queries == [Query("_mta-sts.example.test", "TXT", "udp", recursion_desired=False)]


async def test_a_cname_into_another_zone_is_followed_at_that_zones_servers(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.1")
    delegate(dns, "provider.test", "127.0.0.1")
    dns.set("_mta-sts.example.test", "CNAME", "example.test._sts.provider.test.")
    dns.set("example.test._sts.provider.test", "TXT", "v=STSv1; id=a;")
    resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
    answer = await resolver.lookup_authoritative("_mta-sts.example.test", "TXT")
    assert (answer.records, answer.chain) == ((b"v=STSv1; id=a;",), ("example.test._sts.provider.test",))
    asked = [query for query in dns.queries if not query.recursion_desired]
    assert [query.name for query in asked] == ["_mta-sts.example.test", "example.test._sts.provider.test"]


async def test_a_dead_name_server_is_passed_over(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.2", "127.0.0.1")
    dns.set("example.test", "TXT", "x")
    resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
    assert (await resolver.lookup_authoritative("example.test", "TXT")).records == (b"x",)


async def test_every_server_of_a_zone_is_heard(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.1", "127.0.0.2", "127.0.0.3")
    dns.set("example.test", "MX", "10 mx.example.test.")
    other = FakeDns(host="127.0.0.2")
    other.port = dns.port
    other.set("example.test", "MX", "10 mx.example.test.", "20 evil.example.")
    async with other:
        resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
        answers = await resolver.lookup_everywhere("example.test", "MX")
    port = dns.port
    assert answers[f"127.0.0.1:{port}"].records == ("10 mx.example.test",)
    assert set(answers[f"127.0.0.2:{port}"].records) == {"10 mx.example.test", "20 evil.example"}
    assert answers[f"127.0.0.3:{port}"].status is Status.FAILED
    assert len(answers) == 3


async def test_where_a_cname_leads_elsewhere_the_servers_of_that_zone_are_heard(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.1")
    delegate(dns, "provider.test", "127.0.0.1", "127.0.0.3")
    dns.set("_mta-sts.example.test", "CNAME", "x.provider.test.")
    dns.set("x.provider.test", "TXT", "v=STSv1; id=a;")
    resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
    answers = await resolver.lookup_everywhere("_mta-sts.example.test", "TXT")
    assert answers[f"127.0.0.1:{dns.port}"].records == (b"v=STSv1; id=a;",)
    assert answers[f"127.0.0.3:{dns.port}"].status is Status.FAILED


async def test_a_zone_whose_servers_nobody_knows_says_so_in_an_empty_place(dns: FakeDns) -> None:
    resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
    [(place, answer)] = (await resolver.lookup_everywhere("example.test", "MX")).items()
    assert (place, answer.status) == ("", Status.FAILED)


async def test_name_servers_at_private_addresses_are_not_asked(dns: FakeDns) -> None:
    delegate(dns, "example.test", "127.0.0.1")
    resolver = Resolver([dns.address], authority_port=dns.port, timeout_seconds=1)
    answer = await resolver.lookup_authoritative("example.test", "TXT")
    assert answer.status is Status.FAILED
    assert "no address that may be asked" in answer.reason


async def test_the_override_is_asked_instead_of_a_zones_own_servers(dns: FakeDns, resolver: Resolver) -> None:
    async with FakeDns() as inside:
        inside.set("a.example.test", "CNAME", "b.example.test.")
        inside.set("b.example.test", "TXT", "inside")
        resolver = Resolver([dns.address], [inside.address], timeout_seconds=5)
        answer = await resolver.lookup_authoritative("a.example.test", "TXT")
    assert (answer.records, answer.chain) == ((b"inside",), ("b.example.test",))
    assert dns.queries == []


async def test_answers_are_kept_for_their_ttl_and_failures_are_not(dns: FakeDns) -> None:
    resolver = CachingResolver([dns.address], timeout_seconds=5)
    dns.fail(Fault.SERVFAIL)
    assert (await resolver.txt("k.example.test")).status is Status.FAILED
    dns.heal()
    dns.set("k.example.test", "TXT", "key")
    dns.queries.clear()
    answers = [await resolver.txt(name) for name in ("k.example.test", "K.example.test.", "k.example.test")]
    assert {answer.records for answer in answers} == {(b"key",)}
    assert len(dns.queries) == 1


async def test_many_lookups_at_once_are_all_answered(dns: FakeDns, resolver: Resolver) -> None:
    for number in range(100):
        dns.set(f"n{number}.example.test", "TXT", str(number))
    answers = await asyncio.gather(*(resolver.txt(f"n{number}.example.test") for number in range(100)))
    assert [answer.records for answer in answers] == [(str(number).encode(),) for number in range(100)]


async def test_settings_make_a_resolver(dns: FakeDns) -> None:
    dns.set("example.test", "TXT", "x")
    resolver = make_resolver(Dns(resolvers=(dns.address,), authoritative_override=(dns.address,)))
    assert (await resolver.lookup_authoritative("example.test", "TXT")).found


async def test_a_server_of_the_zone_above_is_asked_whether_a_zone_is_signed(dns: FakeDns) -> None:
    delegate(dns, "test", "127.0.0.2")
    delegate(dns, "example.test", "127.0.0.1")
    above = FakeDns(host="127.0.0.2")
    above.port = dns.port
    async with above:
        above.set("example.test", "DS", "1 13 2 " + 64 * "a")
        resolver = Resolver([dns.address], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)
        assert (await resolver.delegation_signer("www.example.test")).records == ("1 13 2 " + 64 * "a",)
        above.set("example.test", "DS")
        assert (await resolver.delegation_signer("example.test")).status is not Status.FOUND
    assert (await resolver.delegation_signer("example.test")).status is Status.FAILED
