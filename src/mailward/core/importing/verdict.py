"""What becomes of one row of a list: decided from what DNS and the domain's present policy say, without I/O."""

from dataclasses import dataclass, replace
from enum import StrEnum

from mailward.core.importing.listing import Wish
from mailward.core.mtasts.change import ChangeFacts, covers, refuse
from mailward.core.mtasts.policy import Mode, Policy

STARTING_MAX_AGE = 86_400
"""A day: a mistake is forgotten tomorrow."""


class Verdict(StrEnum):
    NEW = "new"
    """Added, with a policy."""
    WITHOUT_POLICY = "without-policy"
    """Added; nobody knows its MX hosts, or what senders hold from elsewhere, so it waits for a person."""
    TAKEOVER = "takeover"
    """Added with the policy that is live elsewhere, as it is: same mode, max_age, patterns and extension fields."""
    THERE = "there"
    """The organisation has it already: nothing is done."""
    REFUSED = "refused"
    UNREADABLE = "unreadable"


ADDED = frozenset((Verdict.NEW, Verdict.WITHOUT_POLICY, Verdict.TAKEOVER))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the world shows of a listed domain."""

    hosts: tuple[str, ...] = ()
    """Live MX hosts, where they were asked for."""
    why_no_hosts: str = ""
    live: Policy | None = None
    """The policy that is served elsewhere; None: there is none."""
    unknown: str = ""
    """Why there may be one all the same, in words without a final dot."""


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    policy: Policy | None
    reason: str = ""


def decide(wish: Wish, seen: Seen, *, is_there: bool) -> Decision:
    """A policy that senders hold is never weakened by moving here, whatever the list says: RFC 8461 section 8.3."""
    if is_there:
        return Decision(Verdict.THERE, None, "You have it already.")
    live = seen.live
    if live is not None and live.mode is not Mode.NONE:
        uncovered = [host for host in wish.mx or seen.hosts if not covers(live, host)]
        note = "" if not uncovered else f" It does not cover {', '.join(uncovered[:3])}."
        # as it is: senders hold it already, so that nobody more is locked out; but people are told
        note += "".join(f" {each.reason}" for each in refuse(live, ChangeFacts((), current=live)))
        wanted = wish.policy
        if wanted is not None and _differs(wanted, live):
            note += " The list wants another policy: change it once this one is served from here."
        policy = replace(live, text="")
        return Decision(
            Verdict.TAKEOVER, policy, f"Its live policy ({live.mode}) is taken over as it is.{note}"
        )
    if seen.unknown:
        reason = f"Senders may hold a policy from elsewhere, which is not replaced: {seen.unknown}."
        return Decision(Verdict.WITHOUT_POLICY, None, reason)
    if wish.policy is not None and wish.policy.mode is Mode.ENFORCE:
        return Decision(
            Verdict.REFUSED,
            None,
            "From no policy to enforce: no report has shown that it is safe. List it as testing.",
        )
    if wish.policy is not None:
        return Decision(Verdict.NEW, wish.policy)
    if hosts := wish.mx or seen.hosts:
        return Decision(Verdict.NEW, Policy(Mode.TESTING, STARTING_MAX_AGE, hosts))
    return Decision(Verdict.WITHOUT_POLICY, None, seen.why_no_hosts or "Its MX hosts are not known.")


def _differs(wanted: Policy, live: Policy) -> bool:
    """A list that names no extension fields leaves them as they are."""
    if wanted.extensions and wanted.extensions != live.extensions:
        return True
    return (wanted.mode, set(wanted.mx)) != (live.mode, set(live.mx))
