"""The policy beside the live MX records, and what following them would change (RFC 8461 sections 4.1, 8.1, 10.2).

The threat: whoever forges an MX answer would write a host into the policy that is there to keep it out. So nothing
here is done at once: who asks, how often, and who may object is the business of worker.following.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from mailward.core.mtasts.change import covers
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.mtasts.providers import known_patterns
from mailward.core.names import InvalidName, matches_mx, parse_domain

HELD_TOLD_AFTER = timedelta(minutes=15)
"""Servers that do not agree for so long are told of: before that, one may be slow to learn."""


class Follow(StrEnum):
    """Which MX hosts may be taken into the policy without a person."""

    OFF = "off"
    PROVIDERS = "providers"
    """Hosts of known providers, by the provider's own patterns."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Comparison:
    uncovered: tuple[str, ...]
    """Live MX hosts that no `mx` line covers: senders that enforce do not deliver there."""
    unused: tuple[str, ...]
    """`mx` lines that cover no live MX host."""


def compare(policy: Policy, hosts: Sequence[str]) -> Comparison:
    """Nothing of a policy that has no say (mode none), nor of a domain without MX hosts."""
    if policy.mode is Mode.NONE or not hosts:
        return Comparison((), ())
    return Comparison(
        tuple(host for host in hosts if not covers(policy, host)),
        tuple(pattern for pattern in policy.mx if not any(matches_mx(pattern, host) for host in hosts)),
    )


def patterns_for(host: str, follow: Follow) -> tuple[str, ...]:
    """What to add to the policy for this host; empty: it is left to a person."""
    try:
        name = parse_domain(host)
    except InvalidName:
        return ()
    known = known_patterns(name)
    if known or follow is not Follow.ALL:
        return known if follow is not Follow.OFF else ()
    return (name,)


def widen(policy: Policy, patterns: Iterable[str]) -> Policy:
    added = [pattern for pattern in dict.fromkeys(patterns) if pattern not in policy.mx]
    return replace(policy, mx=(*policy.mx, *added), text="")


def narrow(policy: Policy, patterns: Iterable[str]) -> Policy | None:
    """None: nothing would be left, which no policy may say."""
    gone = set(patterns)
    kept = tuple(pattern for pattern in policy.mx if pattern not in gone)
    return replace(policy, mx=kept, text="") if kept else None


def why_not_agreed(answers: Mapping[str, tuple[str, ...] | None], validated: tuple[str, ...] | None) -> str:
    """Why this is not what all servers say; empty: it is. The answers of each authoritative server and of the resolver,
    as MX host names; None: no answer.
    """
    if validated is None:
        return "the resolver has no answer, or DNSSEC refuses it"
    if not answers:
        return "no authoritative server is known"
    for place, hosts in answers.items():
        if hosts is None:
            return f"{place or 'DNS'} does not answer"
        if set(hosts) != set(validated):
            return (
                f"{place} says {', '.join(sorted(hosts)) or 'nothing'}, others {', '.join(sorted(validated))}"
            )
    return ""
