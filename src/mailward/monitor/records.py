"""Asks a zone's own servers for a customer's records, and says of each how it stands."""

import asyncio
from dataclasses import dataclass, replace

from mailward.core.names import Domain
from mailward.core.watch.upkeep import ELSEWHERE
from mailward.monitor import judge
from mailward.monitor.everyserver import judge_everywhere
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
from mailward.net.quota import Quota
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
    facts: DomainFacts,
    *,
    resolver: Resolver,
    guard: Guard,
    policy_port: int = 443,
    quota: Quota | None = None,
) -> tuple[RecordState, ...]:
    """The state of each of `expected_records(facts)`, in that order. What could not be asked is UNKNOWN.

    Takes as long as the slowest lookup (twice the resolver's limit), and a policy fetch where `mta-sts` leads
    elsewhere. `quota`: how many connections an address may have.
    """
    fetching = _Fetching(resolver, guard, policy_port, quota)
    checks = [_check(record.key, facts, fetching) for record in expected_records(facts)]
    return judge.prove_by_delegation(await asyncio.gather(*checks), facts)


@dataclass(frozen=True, slots=True)
class _Fetching:
    resolver: Resolver
    guard: Guard
    port: int
    quota: Quota | None


async def _check(key: RecordKey, facts: DomainFacts, fetching: _Fetching) -> RecordState:
    name, resolver = record_name(key, facts.name), fetching.resolver
    if key is RecordKey.POLICY_HOST:
        return await _check_policy_host(name, facts, fetching)
    answer = await resolver.lookup_authoritative(name, "TXT")
    if key is RecordKey.CLAIM:
        state = judge.judge_claim(facts, answer)
    else:
        alias = await _find_alias(name, answer, resolver)
        judged = judge.judge_sts if key is RecordKey.STS else judge.judge_tlsrpt
        state = judged(facts, answer, alias)
        if key is RecordKey.STS and state.state is State.RIGHT and facts.policy_id is not None:
            state = judge_everywhere(state, await resolver.lookup_everywhere(name, "TXT"))
    if state.state is State.MISSING:
        twice = f"{name}.{facts.name}"
        state = judge.judge_misplaced(
            state, twice, await resolver.lookup_authoritative(twice, "TXT"), _STARTS[key]
        )
    return state


async def _check_policy_host(name: str, facts: DomainFacts, fetching: _Fetching) -> RecordState:
    resolver = fetching.resolver
    answer, ours = await asyncio.gather(
        resolver.addresses_authoritative(name), resolver.addresses(facts.policy_host_name)
    )
    if facts.name_servers and not answer.chain:
        servers = await resolver.delegation(name)
        if (delegated := judge.judge_delegated_zone(facts, answer, servers)) is not None:
            return delegated
    alias = await _find_alias(name, answer, resolver)
    state = judge.judge_policy_host(facts, answer, ours, alias)
    if answer.found and facts.policy_text is not None and state.state in (State.WRONG, State.UNKNOWN):
        served = await _compare_served(facts.name, facts.policy_text, fetching)
        if served is None:
            detail = f"{ELSEWHERE}, which has had its connections for this hour"
            return replace(state, state=State.UNKNOWN, detail=detail)
        state = judge.judge_policy_host(facts, answer, ours, alias, served)
    return state


async def _find_alias(name: str, answer: Answer[bytes] | Answer[str], resolver: Resolver) -> Answer[str]:
    """A CNAME beside other data is forbidden (RFC 2181 section 10.1); some DNS servers serve both all the
    same.
    """
    if not answer.found or answer.chain:
        return _NOTHING
    return await resolver.lookup_authoritative(name, "CNAME")


async def _compare_served(domain: Domain, text: str, fetching: _Fetching) -> str | None:
    """Empty if the domain's server delivers this very policy, else why not; None where it was not asked."""
    try:
        result = await fetch_policy(
            domain,
            resolver=fetching.resolver,
            guard=fetching.guard,
            port=fetching.port,
            total_seconds=_FETCH_SECONDS,
            quota=fetching.quota,
        )
    except FetchError as error:
        return None if error.code == "quota" else str(error)
    return "" if result.body == text.encode() else "it serves another policy"
