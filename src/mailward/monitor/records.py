"""Asks a zone's own servers for a customer's records, and says of each how it stands."""

import asyncio

from mailward.core.names import Domain
from mailward.monitor import judge
from mailward.monitor.expected import (
    CLAIM_PREFIX,
    DomainFacts,
    ExpectedRecord,
    RecordData,
    RecordKey,
    RecordState,
    State,
    expected_records,
    record_name,
)
from mailward.net.fetch import FetchError, fetch_policy
from mailward.net.guard import Guard
from mailward.net.resolver import Answer, Resolver, Status

__all__ = [
    "DomainFacts",
    "ExpectedRecord",
    "RecordData",
    "RecordKey",
    "RecordState",
    "State",
    "check_records",
    "expected_records",
    "record_name",
]

_FETCH_SECONDS = 15.0  # somebody waits at a page; a sender would wait a minute
_STARTS = {RecordKey.CLAIM: CLAIM_PREFIX.encode(), RecordKey.STS: b"v=STSv1", RecordKey.TLSRPT: b"v=TLSRPTv1"}
_NOTHING: Answer[str] = Answer(Status.NODATA)


async def check_records(
    facts: DomainFacts, *, resolver: Resolver, guard: Guard, policy_port: int = 443
) -> tuple[RecordState, ...]:
    """The state of each of `expected_records(facts)`, in that order. What could not be asked is UNKNOWN.

    Takes as long as the slowest lookup (twice the resolver's limit), and a policy fetch where `mta-sts` leads
    elsewhere.
    """
    checks = [_check(record.key, facts, resolver, guard, policy_port) for record in expected_records(facts)]
    return judge.prove_by_delegation(await asyncio.gather(*checks), facts)


async def _check(
    key: RecordKey, facts: DomainFacts, resolver: Resolver, guard: Guard, policy_port: int
) -> RecordState:
    name = record_name(key, facts.name)
    if key is RecordKey.POLICY_HOST:
        return await _check_policy_host(name, facts, resolver, guard, policy_port)
    answer = await resolver.lookup_authoritative(name, "TXT")
    if key is RecordKey.CLAIM:
        state = judge.judge_claim(facts, answer)
    else:
        alias = await _find_alias(name, answer, resolver)
        judged = judge.judge_sts if key is RecordKey.STS else judge.judge_tlsrpt
        state = judged(facts, answer, alias)
    if state.state is State.MISSING:
        twice = f"{name}.{facts.name}"
        state = judge.judge_misplaced(
            state, twice, await resolver.lookup_authoritative(twice, "TXT"), _STARTS[key]
        )
    return state


async def _check_policy_host(
    name: str, facts: DomainFacts, resolver: Resolver, guard: Guard, policy_port: int
) -> RecordState:
    answer, ours = await asyncio.gather(
        resolver.addresses_authoritative(name), resolver.addresses(facts.policy_host_name)
    )
    alias = await _find_alias(name, answer, resolver)
    state = judge.judge_policy_host(facts, answer, ours, alias)
    if answer.found and facts.policy_text is not None and state.state in (State.WRONG, State.UNKNOWN):
        served = await _compare_served(facts.name, facts.policy_text, resolver, guard, policy_port)
        state = judge.judge_policy_host(facts, answer, ours, alias, served)
    return state


async def _find_alias(name: str, answer: Answer[bytes] | Answer[str], resolver: Resolver) -> Answer[str]:
    """A CNAME beside other data is forbidden (RFC 2181 section 10.1); some DNS servers serve both all the
    same.
    """
    if not answer.found or answer.chain:
        return _NOTHING
    return await resolver.lookup_authoritative(name, "CNAME")


async def _compare_served(domain: Domain, text: str, resolver: Resolver, guard: Guard, port: int) -> str:
    """Empty if the domain's server delivers this very policy, else why not."""
    try:
        result = await fetch_policy(
            domain, resolver=resolver, guard=guard, port=port, total_seconds=_FETCH_SECONDS
        )
    except FetchError as error:
        return str(error)
    return "" if result.body == text.encode() else "it serves another policy"
