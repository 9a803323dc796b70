"""Policies that somebody else serves: before a domain comes here, and before it goes there."""

from dataclasses import dataclass
from pathlib import Path

from mailward.config import Settings
from mailward.core.mtasts.policy import Policy, PolicyInvalid, parse_policy
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import Domain, is_address
from mailward.net.fetch import FetchError, fetch_policy, fetch_policy_at, why_no_address
from mailward.net.guard import Guard, make_guard
from mailward.net.resolver import Answer, Resolver, Status
from mailward.net.ways import has_way

FETCH_SECONDS = 12.0
"""Somebody waits at a page."""


_MAX_ADDRESSES = 3
NOBODYS_LABEL = "mailward-looks-for-a-wildcard"
"""What is found there is found at every name of the domain that has nothing of its own."""


@dataclass(frozen=True, slots=True)
class Live:
    """What senders get now."""

    policy: Policy | None
    reason: str = ""
    """Why there is none."""
    policy_id: str = ""
    """Of the record; empty: there is none that senders take."""
    record_reason: str = ""
    unknown: str = ""
    """Why a policy may be live all the same, in words without a final dot. Empty: `policy` is all that there is."""


async def look_at_live(settings: Settings, domain: Domain, resolver: Resolver) -> Live:
    """Raises nothing for what DNS and policy host do."""
    watch = settings.watch
    answer = await resolver.txt(f"_mta-sts.{domain}")
    policy_id, record_reason = "", ""
    try:
        policy_id = parse_record(list(answer.records)).policy_id
    except RecordError as error:
        record_reason = f"DNS did not answer: {answer.reason}" if _has_failed(answer) else str(error)
    try:
        result = await fetch_policy(
            domain,
            resolver=resolver,
            guard=make_guard(settings.dns),
            ca_file=Path(watch.ca_file) if watch.ca_file else None,
            port=watch.https_port,
            total_seconds=FETCH_SECONDS,
        )
    except FetchError as error:
        if policy_id:
            unknown = f"its record announces one that could not be fetched: {error}"
        elif _has_failed(answer):
            unknown = f"DNS did not answer for _mta-sts.{domain}: {answer.reason}"
        else:
            unknown = await _why_maybe_served(domain, resolver, settings.policy_host.public_name, str(error))
        return Live(None, str(error), policy_id, record_reason, unknown)
    return Live(result.policy, "", policy_id, record_reason)


async def _why_maybe_served(domain: Domain, resolver: Resolver, own_host: str, failure: str) -> str:
    """No record announces a policy that could not be fetched; senders keep what they hold until its max_age ends all
    the same (RFC 8461 section 3.3). Empty: nobody but `own_host`, our policy hosts, serves one.
    """
    host = f"mta-sts.{domain}"
    found = await resolver.addresses(host)
    if _has_failed(found):
        return f"DNS did not answer for {host}: {found.reason}"
    if not found.found:
        return ""
    # a wildcard leads every name somewhere, and a domain that is to come here may lead here already
    for other in (f"{NOBODYS_LABEL}.{domain}", *([own_host] if own_host else [])):
        if set((await resolver.addresses(other)).records) >= set(found.records):
            return ""
    return f"{host} is there, and its policy could not be fetched: {failure}"


def _has_failed(answer: Answer[bytes] | Answer[str]) -> bool:
    return answer.status is Status.FAILED


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
    if not found.found and not is_address(host):
        return f"{host} {why_no_address(found)}"
    # a machine with one address family sees nothing of what is at the other
    in_reach = tuple(each for each in found.records if has_way(each)) or found.records
    addresses = in_reach[:_MAX_ADDRESSES] if found.found else (host,)
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
