"""Which changes of a policy would lock mail out: refused, unless a person forces them.

    refusals = refuse(policy, ChangeFacts(mx=("mx1.example.net",), current=served))

A page, the command line and changes of thousands of domains ask the same function. Testing and none lock nothing out:
senders deliver as before (RFC 8461 section 5). What each code means for a person is in docs/policy-changes.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import matches_mx

DAY_SECONDS = 86_400


class RefusalCode(StrEnum):
    """Stable: programs and the history keep them."""

    MX_UNKNOWN = "mx-unknown"
    MX_NOT_COVERED = "mx-not-covered"
    MX_CERTIFICATE = "mx-certificate"
    MAX_AGE_SHORT = "max-age-short"
    NEVER_TESTED = "never-tested"


@dataclass(frozen=True, slots=True)
class ChangeFacts:
    """What is known of the domain when the change is asked for."""

    mx: tuple[str, ...] | None
    """The live MX hosts, or the domain itself where it has no MX records. Empty: it takes no mail. None: not learnt."""
    why_unknown: str = ""
    """Why `mx` is None."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """MX host -> what strict senders reject there, in words (core.check.rejected)."""
    current: Policy | None = None
    """The policy that senders may hold now: the one that we serve, else the one that is live elsewhere."""


@dataclass(frozen=True, slots=True)
class Refusal:
    code: RefusalCode
    about: str
    """The MX host; empty: the policy as a whole."""
    reason: str
    """One sentence for people. Strangers' text may be in it."""
    section: str
    """Such as `RFC 8461 section 4.1`."""

    def __str__(self) -> str:
        return f"{self.reason} ({self.section})"


def refuse(policy: Policy, facts: ChangeFacts) -> tuple[Refusal, ...]:
    """Nothing: the change may be made. The order is that of RefusalCode."""
    if policy.mode is not Mode.ENFORCE:
        return ()
    return (
        *_on_hosts(policy, facts),
        *_on_certificates(policy, facts),
        *_on_max_age(policy),
        *_on_mode(facts),
    )


def refuse_more(policy: Policy, facts: ChangeFacts) -> tuple[Refusal, ...]:
    """Of what `refuse` says, what does not hold of `facts.current` already: for whoever mends a policy step by step."""
    held = refuse(facts.current, facts) if facts.current is not None else ()
    there = {(each.code, each.about) for each in held} - {(RefusalCode.MX_UNKNOWN, "")}
    return tuple(each for each in refuse(policy, facts) if (each.code, each.about) not in there)


def _on_hosts(policy: Policy, facts: ChangeFacts) -> Iterator[Refusal]:
    if facts.mx is None:
        why = f": {facts.why_unknown}" if facts.why_unknown else ""
        reason = f"The live MX records could not be learnt, so nobody knows whom enforce would lock out{why}."
        yield Refusal(RefusalCode.MX_UNKNOWN, "", reason, "RFC 8461 section 5")
        return
    for host in facts.mx:
        if not covers(policy, host):
            reason = f"{host} is an MX host and not in the policy: strict senders refuse to deliver there."
            # §4.1: only hosts that match are permitted; §5: enforce must not deliver to others
            yield Refusal(RefusalCode.MX_NOT_COVERED, host, reason, "RFC 8461 section 4.1")


def _on_certificates(policy: Policy, facts: ChangeFacts) -> Iterator[Refusal]:
    for host in facts.mx or ():
        if host not in facts.rejected or not covers(policy, host):
            continue
        if _is_enforced(facts) and facts.current is not None and covers(facts.current, host):
            continue  # mail is refused there already: this change locks out nobody more
        reason = f"Strict senders would refuse {host}: {facts.rejected[host]}."
        yield Refusal(RefusalCode.MX_CERTIFICATE, host, reason, "RFC 8461 section 4.2")


def _on_max_age(policy: Policy) -> Iterator[Refusal]:
    if policy.max_age_seconds < DAY_SECONDS:
        reason = (
            f"A max_age of {policy.max_age_seconds} seconds is under a day: enforce protects hardly anybody, and every "
            "short failure of the policy host is felt at once."
        )
        yield Refusal(RefusalCode.MAX_AGE_SHORT, "", reason, "RFC 8461 section 10.2")


def _on_mode(facts: ChangeFacts) -> Iterator[Refusal]:
    if facts.current is None or facts.current.mode is Mode.NONE:
        reason = "From no policy to enforce: no report has shown that enforce is safe. Begin with testing."
        yield Refusal(RefusalCode.NEVER_TESTED, "", reason, "RFC 8461 section 5")


def describe(before: Policy | None, after: Policy) -> str:
    """What changes, in a line for the history; empty: nothing that senders act on."""
    if before is None:
        listed = ", ".join(after.mx) or "no mx"
        return f"mode {after.mode}, max_age {after.max_age_seconds} seconds, {listed}"
    told = []
    if before.mode is not after.mode:
        told.append(f"mode {before.mode} to {after.mode}")
    if before.max_age_seconds != after.max_age_seconds:
        told.append(f"max_age {before.max_age_seconds} to {after.max_age_seconds} seconds")
    if added := [pattern for pattern in after.mx if pattern not in before.mx]:
        told.append(f"mx added: {', '.join(added)}")
    if removed := [pattern for pattern in before.mx if pattern not in after.mx]:
        told.append(f"mx removed: {', '.join(removed)}")
    return "; ".join(told)


def covers(policy: Policy, host: str) -> bool:
    return any(matches_mx(pattern, host) for pattern in policy.mx)


def _is_enforced(facts: ChangeFacts) -> bool:
    return facts.current is not None and facts.current.mode is Mode.ENFORCE
