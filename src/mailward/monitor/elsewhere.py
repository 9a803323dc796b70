"""Policies that somebody else serves: before a domain comes here, and before it goes there."""

from dataclasses import dataclass
from pathlib import Path

from mailward.core.mtasts.policy import Policy, PolicyInvalid, parse_policy
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import Domain
from mailward.net.fetch import FetchError, fetch_policy, fetch_policy_at
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver

FETCH_SECONDS = 12.0
"""Somebody waits at a page."""


_MAX_ADDRESSES = 3


@dataclass(frozen=True, slots=True)
class Live:
    """What senders get now."""

    policy: Policy | None
    reason: str = ""
    """Why there is none."""
    policy_id: str = ""
    """Of the record; empty: there is none that senders take."""
    record_reason: str = ""


async def look_at_live(
    domain: Domain, resolver: Resolver, guard: Guard, *, ca_file: Path | None = None, port: int = 443
) -> Live:
    answer = await resolver.txt(f"_mta-sts.{domain}")
    policy_id, record_reason = "", ""
    try:
        policy_id = parse_record(list(answer.records)).policy_id
    except RecordError as error:
        record_reason = str(error)
    try:
        result = await fetch_policy(
            domain, resolver=resolver, guard=guard, ca_file=ca_file, port=port, total_seconds=FETCH_SECONDS
        )
    except FetchError as error:
        return Live(None, str(error), policy_id, record_reason)
    return Live(result.policy, "", policy_id, record_reason)


async def why_not_same(
    domain: Domain,
    host: str,
    text: str,
    resolver: Resolver,
    guard: Guard,
    *,
    ca_file: Path | None = None,
    port: int = 443,
) -> str:
    """Why the policy host at this name or address is no place to let `mta-sts` lead to; empty: its addresses serve a
    policy that says the same as `text`, with a certificate for the domain.
    """
    try:
        ours = parse_policy(text.encode())
    except PolicyInvalid as error:
        return str(error)
    found = await resolver.addresses(host)
    addresses = found.records[:_MAX_ADDRESSES] if found.found else (host,)
    for address in addresses:
        try:
            result = await fetch_policy_at(
                domain, address, guard=guard, ca_file=ca_file, port=port, total_seconds=FETCH_SECONDS
            )
        except FetchError as error:
            return f"{address}: {error}"
        theirs = result.policy
        for what, mine, other in (
            ("mode", ours.mode.value, theirs.mode.value),
            ("max_age", ours.max_age_seconds, theirs.max_age_seconds),
            ("mx", ", ".join(sorted(ours.mx)), ", ".join(sorted(theirs.mx))),
        ):
            if mine != other:
                return f"{address}: its {what} is {other}, and here {mine}"
    return ""
