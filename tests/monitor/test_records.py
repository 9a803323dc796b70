from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.fakes.dns import FakeDns, Fault

from mailward.core.names import Domain
from mailward.monitor.records import (
    DomainFacts,
    RecordData,
    RecordKey,
    RecordState,
    State,
    check_records,
    expected_records,
)
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver

FACTS = DomainFacts(Domain("example.test"), "t0ken", "abc@reports.test", "20261124", "policy.provider.test")
LAB = Guard(allow_private=True)


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        server.set("policy.provider.test", "A", "127.0.0.1")
        yield server


async def check(dns: FakeDns, facts: DomainFacts = FACTS) -> dict[str, RecordState]:
    resolver = Resolver([dns.address], [dns.address], timeout_seconds=5)
    return {
        state.key: state for state in await check_records(facts, resolver=resolver, guard=LAB, policy_port=1)
    }


def publish(dns: FakeDns) -> None:
    dns.set("_mailward-challenge.example.test", "TXT", "mailward-claim=t0ken")
    dns.set("mta-sts.example.test", "CNAME", "policy.provider.test.")
    dns.set("_mta-sts.example.test", "TXT", "v=STSv1; id=20261124;")
    dns.set("_smtp._tls.example.test", "TXT", "v=TLSRPTv1; rua=mailto:abc@reports.test")


def test_a_customer_is_told_what_to_publish() -> None:
    records = expected_records(FACTS)
    assert [(record.name, record.recommended) for record in records] == [
        ("_mailward-challenge.example.test", RecordData("TXT", "mailward-claim=t0ken")),
        ("mta-sts.example.test", RecordData("CNAME", "policy.provider.test")),
        ("_mta-sts.example.test", RecordData("TXT", "v=STSv1; id=20261124;")),
        ("_smtp._tls.example.test", RecordData("TXT", "v=TLSRPTv1; rua=mailto:abc@reports.test")),
    ]
    assert [record.delegated for record in records[2:]] == [None, None]
    assert [record.offers_delegation for record in records] == [False, True, False, False]


DELEGATED = replace(FACTS, delegation="tok3n.sts.test")


def test_where_we_have_a_nameserver_three_cnames_are_all_for_ever() -> None:
    records = expected_records(replace(DELEGATED, policy_id=None))
    assert [(record.key, record.recommended) for record in records[1:]] == [
        (RecordKey.POLICY_HOST, RecordData("CNAME", "mta-sts.tok3n.sts.test")),
        (RecordKey.STS, RecordData("CNAME", "_mta-sts.tok3n.sts.test")),
        (RecordKey.TLSRPT, RecordData("CNAME", "_tlsrpt.tok3n.sts.test")),
    ]


def delegate(dns: FakeDns, token: str = "tok3n") -> None:
    dns.set("mta-sts.example.test", "CNAME", f"mta-sts.{token}.sts.test.")
    dns.set("_mta-sts.example.test", "CNAME", f"_mta-sts.{token}.sts.test.")
    dns.set("_smtp._tls.example.test", "CNAME", f"_tlsrpt.{token}.sts.test.")
    dns.set(f"mta-sts.{token}.sts.test", "A", "127.0.0.1")
    dns.set(f"_tlsrpt.{token}.sts.test", "TXT", "v=TLSRPTv1; rua=mailto:abc@reports.test")


async def test_delegated_records_are_right_and_prove_the_domain(dns: FakeDns) -> None:
    delegate(dns)
    states = await check(dns, DELEGATED)
    assert {key: state.state for key, state in states.items()} == dict.fromkeys(
        set(RecordKey) - {RecordKey.SERVERS, RecordKey.SIGNATURES}, State.RIGHT
    )
    assert states["claim"].observed == ("CNAME mta-sts.tok3n.sts.test",)
    assert states["_mta-sts"].detail == "the policy is not announced yet"


async def test_the_label_of_another_domain_proves_nothing(dns: FakeDns) -> None:
    delegate(dns, "an0ther")
    states = await check(dns, DELEGATED)
    assert states["claim"].state is State.MISSING
    assert states["_mta-sts"].state is State.WRONG


def test_p12_nothing_announces_a_policy_that_is_not_served() -> None:
    keys = [record.key for record in expected_records(replace(FACTS, policy_id=None))]
    assert keys == [RecordKey.CLAIM, RecordKey.POLICY_HOST, RecordKey.TLSRPT]


async def test_nothing_published_is_all_missing(dns: FakeDns) -> None:
    assert {state.state for state in (await check(dns)).values()} == {State.MISSING}


async def test_everything_published_is_all_right(dns: FakeDns) -> None:
    publish(dns)
    states = await check(dns)
    assert [state.state for state in states.values()] == [State.RIGHT] * 4
    assert states["mta-sts"].observed == ("CNAME policy.provider.test", "A 127.0.0.1")


async def test_p4_delegation_by_cname_is_right_where_it_leads_to_the_text(dns: FakeDns) -> None:
    publish(dns)
    for name, target in (("_mta-sts", "_mta-sts"), ("_smtp._tls", "_smtp._tls")):
        dns.remove(f"{name}.example.test", "TXT")
        dns.set(f"{name}.example.test", "CNAME", f"example.test.{target}.reports.test.")
    dns.set("example.test._mta-sts.reports.test", "TXT", "v=STSv1; id=20261124;")
    states = await check(dns)
    assert states["_mta-sts"].state is State.RIGHT
    assert states["_smtp._tls"].state is State.WRONG
    assert "example.test._smtp._tls.reports.test, which has no TXT record" in states["_smtp._tls"].detail


async def test_an_old_txt_beside_the_cname_conflicts(dns: FakeDns) -> None:
    publish(dns)
    dns.set("_mta-sts.example.test", "CNAME", "example.test._mta-sts.reports.test.")
    assert (await check(dns))["_mta-sts"].state is State.CONFLICTING


async def test_two_tlsrpt_records_conflict(dns: FakeDns) -> None:
    publish(dns)
    dns.set(
        "_smtp._tls.example.test",
        "TXT",
        "v=TLSRPTv1; rua=mailto:abc@reports.test",
        "v=TLSRPTv1; rua=mailto:x@y.test",
    )
    assert (await check(dns))["_smtp._tls"].state is State.CONFLICTING


async def test_the_id_must_be_the_one_served(dns: FakeDns) -> None:
    publish(dns)
    states = await check(dns, replace(FACTS, policy_id="20261125"))
    assert states["_mta-sts"].state is State.WRONG


async def test_a_record_whose_name_got_the_domain_twice_is_found(dns: FakeDns) -> None:
    dns.set("_mta-sts.example.test.example.test", "TXT", "v=STSv1; id=20261124;")
    state = (await check(dns))["_mta-sts"]
    assert state.state is State.WRONG
    assert "adds the domain by itself" in state.detail


async def test_an_elsewhere_that_serves_nothing_is_wrong_with_the_reason(dns: FakeDns) -> None:
    publish(dns)
    dns.remove("mta-sts.example.test", "CNAME")
    dns.set("mta-sts.example.test", "A", "127.0.0.2")
    state = (await check(dns, replace(FACTS, policy_text="version: STSv1\r\n")))["mta-sts"]
    assert state.state is State.WRONG
    assert "127.0.0.2, port 1" in state.detail


async def test_what_cannot_be_asked_is_unknown_and_hides_nothing_else(dns: FakeDns) -> None:
    publish(dns)
    dns.fail(Fault.SERVFAIL, "_mta-sts.example.test")
    states = await check(dns)
    assert states["_mta-sts"].state is State.UNKNOWN
    assert "SERVFAIL" in states["_mta-sts"].detail
    assert states["claim"].state is State.RIGHT


async def test_a_change_is_seen_at_once(dns: FakeDns) -> None:
    publish(dns)
    async with FakeDns() as stale:
        resolver = Resolver([stale.address], [dns.address], timeout_seconds=5)
        states = await check_records(FACTS, resolver=resolver, guard=LAB)
    assert states[0].state is State.RIGHT
