"""Every server of a zone is heard, from a machine with one address family: a network namespace without the other."""

from collections.abc import AsyncIterator

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.onefamily import NEEDS_ROOT, without_ways

from mailward.net.guard import Guard
from mailward.net.resolver import Resolver, Status, of_those_in_reach
from mailward.net.ways import has_way

pytestmark = NEEDS_ROOT
AWAY4, AWAY6 = "192.0.2.1", "2001:db8::1"


@pytest.fixture(params=["127.0.0.1", "::1"])
async def dns(request: pytest.FixtureRequest) -> AsyncIterator[FakeDns]:
    with without_ways():
        async with FakeDns(host=request.param) as server:
            server.delegate("example.test", "both.example.test.", "far.example.test.")
            server.set("both.example.test", "A", "127.0.0.1" if request.param == "127.0.0.1" else AWAY4)
            server.set("both.example.test", "AAAA", "::1" if request.param == "::1" else AWAY6)
            server.set("far.example.test", "AAAA" if request.param == "127.0.0.1" else "A", other(server))
            server.set("example.test", "MX", "10 mx.example.test.")
            yield server


def other(dns: FakeDns) -> str:
    return AWAY6 if dns.host == "127.0.0.1" else AWAY4


def resolver(dns: FakeDns) -> Resolver:
    return Resolver([place(dns)], guard=Guard(True), authority_port=dns.port, timeout_seconds=1)


def place(dns: FakeDns, address: str = "") -> str:
    address = address or dns.host
    return f"[{address}]:{dns.port}" if ":" in address else f"{address}:{dns.port}"


async def test_a_server_is_asked_by_the_family_that_is_there_and_one_without_it_is_told(dns: FakeDns) -> None:
    answers = await resolver(dns).lookup_everywhere("example.test", "MX")
    assert answers.keys() == {place(dns), place(dns, other(dns))}
    assert answers[place(dns)].records == ("10 mx.example.test",)
    far = answers[place(dns, other(dns))]
    assert (far.status, far.is_out_of_reach) == (Status.FAILED, True)
    assert f"no way out over {'IPv6' if dns.host == '127.0.0.1' else 'IPv4'}" in far.reason
    assert of_those_in_reach(answers).keys() == {place(dns)}


async def test_a_server_is_told_of_once_however_many_addresses_it_has(dns: FakeDns) -> None:
    base, kind = ("2001:db8::", "AAAA") if dns.host == "127.0.0.1" else ("192.0.2.", "A")
    dns.set("far.example.test", kind, *(f"{base}{number}" for number in range(10, 60)))
    assert len(await resolver(dns).lookup_everywhere("example.test", "MX")) == 2


async def test_where_none_can_be_asked_all_are_told(dns: FakeDns) -> None:
    dns.set("both.example.test", "A")
    dns.set("both.example.test", "AAAA")
    answers = await resolver(dns).lookup_everywhere("example.test", "MX")
    assert of_those_in_reach(answers) == answers
    assert [each.is_out_of_reach for each in answers.values()] == [True]
    answer = await resolver(dns).lookup_authoritative("example.test", "MX")
    assert "cannot be reached from here" in answer.reason


async def test_silence_about_an_address_is_not_taken_for_a_missing_way(dns: FakeDns) -> None:
    """Who can make packets vanish would else make an honest server vanish."""
    dns.fail(Fault.SERVFAIL, "far.example.test", "A" if dns.host == "127.0.0.1" else "AAAA")
    answers = await resolver(dns).lookup_everywhere("example.test", "MX")
    far = of_those_in_reach(answers)["far.example.test"]
    assert (far.status, far.is_out_of_reach) == (Status.FAILED, False)


async def test_a_silent_server_is_not_left_out(dns: FakeDns) -> None:
    name = "example.test"
    dns.fail(Fault.SILENCE, name, "MX")
    answers = of_those_in_reach(await resolver(dns).lookup_everywhere(name, "MX"))
    assert [(each.status, each.is_out_of_reach) for each in answers.values()] == [(Status.FAILED, False)]


async def test_servers_behind_many_that_cannot_be_reached_are_asked(dns: FakeDns) -> None:
    names = [f"ns{number}.example.test." for number in range(6)]
    dns.delegate("example.test", *names)
    for number, name in enumerate(names):
        dns.set(name, "AAAA" if dns.host == "127.0.0.1" else "A", other(dns)[:-1] + str(number + 1))
    dns.set(names[-1], "A" if dns.host == "127.0.0.1" else "AAAA", dns.host)
    answer = await resolver(dns).lookup_authoritative("example.test", "MX")
    assert answer.records == ("10 mx.example.test",)


def test_ways_are_judged_by_family_without_a_packet() -> None:
    with without_ways():
        found = [has_way(address) for address in ("127.0.0.1", "::1", AWAY4, AWAY6)]
    assert found == [True, True, False, False]
