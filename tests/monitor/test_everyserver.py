"""Whether every name server tells the same id: real servers, each on an address of its own."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.fakes.dns import FakeDns

from mailward.core.dns.ratelimit import RateLimiter
from mailward.core.dns.wire import Type
from mailward.core.dns.zone import Authority, Record, Soa, make_zone
from mailward.core.names import Domain
from mailward.hosting.authdns import Nameserver, TransferAccess
from mailward.monitor.records import DomainFacts, State, check_records
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver

NAME = "_mta-sts.example.test"
TOKEN = "_mta-sts.t0ken.sts.test"
LAB = Guard(allow_private=True)


def authority(zone: str, *records: Record) -> Authority:
    return Authority([make_zone(zone, Soa(f"ns.{zone}", f"hostmaster@{zone}", 1), records)])


def announcing(policy_id: str) -> Authority:
    return authority("sts.test", Record(TOKEN, Type.TXT, f"v=STSv1; id={policy_id};"))


class Bed:
    """The customer's one name server at 127.0.0.1, ours at .2 and .3, all on one port."""

    def __init__(self, dns: FakeDns, servers: list[Nameserver], port: int) -> None:
        self.customer, self.one, self.other = servers
        self.port = port
        self.resolver = Resolver([dns.address], guard=LAB, authority_port=port, timeout_seconds=1)


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    servers = [Nameserver(RateLimiter(per_topic=0, per_address=0), TransferAccess({})) for _ in range(3)]
    servers[0].authority = authority("example.test", Record(NAME, Type.CNAME, TOKEN))
    port = await servers[0].listen(["127.0.0.1"], 0)
    for number, server in enumerate(servers[1:], 2):
        server.authority = announcing("one")
        await server.listen([f"127.0.0.{number}"], port)
    async with FakeDns() as dns:
        for zone, addresses in {
            "example.test": ["127.0.0.1"],
            "sts.test": ["127.0.0.2", "127.0.0.3"],
        }.items():
            names = [f"ns{number}.{zone}." for number in range(len(addresses))]
            dns.set(zone, "SOA", f"ns0.{zone}. hostmaster.{zone}. 1 3600 600 86400 30")
            dns.set(zone, "NS", *names)
            for name, address in zip(names, addresses, strict=True):
                dns.set(name, "A", address)
        yield Bed(dns, servers, port)
    for server in servers:
        await server.close()


@pytest.mark.parametrize(("other", "state"), [("one", State.RIGHT), ("old", State.CONFLICTING)])
async def test_servers_that_differ_are_a_conflict_and_shown(bed: Bed, other: str, state: State) -> None:
    bed.other.authority = announcing(other)
    facts = DomainFacts(Domain("example.test"), "c", "r@reports.test", "one", "policy.provider.test")
    states = await check_records(
        replace(facts, delegation="t0ken.sts.test"), resolver=bed.resolver, guard=LAB
    )
    (sts,) = (each for each in states if each.key == "_mta-sts")
    assert sts.state is state
    assert f"127.0.0.3:{bed.port}: id={other}" in sts.observed
    assert ("differ" in sts.detail) is (state is State.CONFLICTING)


async def test_a_server_without_the_record_differs_too_and_one_that_does_not_answer_does_not(
    bed: Bed,
) -> None:
    facts = DomainFacts(Domain("example.test"), "c", "r@reports.test", "one", "policy.provider.test")
    for told, state in ((authority("sts.test"), State.CONFLICTING), (Authority(), State.RIGHT)):
        bed.other.authority = told
        states = await check_records(
            replace(facts, delegation="t0ken.sts.test"), resolver=bed.resolver, guard=LAB
        )
        (sts,) = (each for each in states if each.key == "_mta-sts")
        assert sts.state is state
