"""When a finding becomes a problem, and when it is over: each time seen twice, some minutes apart.

A DNS server that drops one answer, or a mail server that is restarted, is no problem. What a check did not observe
neither opens nor closes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mailward.core.check.codes import Code
from mailward.core.check.facts import UNOBSERVED, Facts, Lookup, Reach, Session
from mailward.core.check.finding import Finding
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.record import Record
from mailward.core.watch.keeping import says_something

ENOUGH = 2
"""So many looks that agree."""


class Step(StrEnum):
    NONE = "none"
    OPEN = "open"
    CLOSE = "close"
    FORGET = "forget"
    """Nobody was told of it, and it is gone."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One finding of one domain over time."""

    seen: int = 0
    """Looks in a row that showed it, counted up to ENOUGH."""
    clear: int = 0
    is_open: bool = False
    is_baseline: bool = False
    """It was there when we first looked, and has cost no mail since: shown, but nobody is told. Changes make noise."""

    @property
    def is_pending(self) -> bool:
        """Whether the next look decides something, and should come soon."""
        if self.is_open:
            return self.clear > 0
        return not self.is_baseline and 0 < self.seen < ENOUGH


def weighs(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTICE


def begin(finding: Finding, *, is_first_check: bool) -> Standing:
    """Before it was ever seen. At the first check only what costs mail is told."""
    return Standing(is_baseline=is_first_check and finding.severity is not Severity.CRITICAL)


def advance(
    standing: Standing,
    *,
    is_there: bool,
    is_observed: bool,
    is_fresh: bool,
    is_confirmed: bool,
    is_critical: bool = False,
) -> tuple[Standing, Step]:
    """After one more check.

    `is_critical`: it costs mail now. What did not when we first looked is new then, as if it was seen for the first
    time. `is_fresh`: it rests on another look than the check before. `is_confirmed`: others have seen the same often
    enough, such as that an MX host's certificate changed.
    """
    if is_there:
        if standing.is_baseline and is_critical:
            standing, is_fresh = Standing(), True
        return _appear(standing, is_fresh=is_fresh, is_confirmed=is_confirmed)
    if not is_observed:
        return standing, Step.NONE
    if not standing.is_open:
        return standing, Step.FORGET
    clear = ENOUGH if is_confirmed else standing.clear + (1 if is_fresh else 0)
    if clear >= ENOUGH:
        return Standing(), Step.CLOSE
    return replace(standing, clear=clear), Step.NONE


def _appear(standing: Standing, *, is_fresh: bool, is_confirmed: bool) -> tuple[Standing, Step]:
    if standing.is_open or standing.is_baseline:
        return replace(standing, clear=0), Step.NONE
    seen = ENOUGH if is_confirmed else min(standing.seen + (1 if is_fresh else 0), ENOUGH)
    if seen >= ENOUGH:
        return Standing(seen=seen, is_open=True), Step.OPEN
    return replace(standing, seen=seen), Step.NONE


def is_observed(facts: Facts, code: str, about: str, evidence: Sequence[str]) -> bool:
    """Whether facts that do not show this fault show that it is not there."""
    if facts.mx.has_failed and code != Code.MX_LOOKUP_FAILED:
        return False
    host = next((host for host in facts.hosts if host.name == about), None)
    if host is not None:
        # how much a host's fault weighs, the policy says: while it cannot be fetched, nothing has become better
        if _lacks_policy(facts) or any(lookup.has_failed for lookup in (host.v4, host.v6, *host.tlsa)):
            return False
        blind = {session.address for session in host.sessions if not _is_settled(session)}
        # where it was seen, it has to be looked at again
        in_evidence = any(line.startswith(f"{address}:") for line in evidence for address in blind)
        is_wholly_blind = bool(host.sessions) and len(blind) == len({each.address for each in host.sessions})
        needs_dnssec = code.startswith(("tlsa-", "dane-", "dnssec-"))
        return not in_evidence and not is_wholly_blind and (facts.validates or not needs_dnssec)
    if code.startswith("tlsrpt-"):
        return not facts.tlsrpt.has_failed and all(each.takes_reports is not None for each in facts.targets)
    if code.startswith(("sts-", "policy-")):
        policy = facts.policy_host
        if about.startswith("https://") and not any(fetch.has_body for fetch in policy.fetches):
            return False  # it is about the text
        lookups: tuple[Lookup, ...] = (facts.sts, policy.v4, policy.v6)
        return not any(each.has_failed for each in lookups) and not any(
            fetch.error == UNOBSERVED for fetch in policy.fetches
        )
    return True


def _lacks_policy(facts: Facts) -> bool:
    """Whether a policy is announced, or may be, and was not seen."""
    view = View(facts)
    return facts.sts.has_failed or (isinstance(view.record, Record) and view.served is None)


def _is_settled(session: Session) -> bool:
    return says_something(session) or session.reach is Reach.FORBIDDEN
