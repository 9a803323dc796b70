"""When failures that reports tell of become a problem, and when it is gone.

A cause is a result type on a host. It is a problem of every domain whose reports show it. What is decided
here weighs counted reports only; the threat is a stranger who would make us cry wolf, or fall silent, by a
report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

CLEAN_DAYS = 3
"""So many later days of reports without the failure show it gone, whoever sent them."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    min_reporters: int
    min_sessions: int
    min_percent: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counted reports say of one cause on one domain, in the days looked at."""

    domain_id: int
    first_day: date
    last_day: date
    """The last day for which anybody reports the failure."""
    seen_by: frozenset[str]
    """The reporters that report it."""
    failed: Mapping[str, int]
    """Failed sessions of this cause, per policy type."""
    total: Mapping[str, int]
    """All sessions of the domain that those reporters tell of, per policy type: what others say of their own
    sessions, true or made up, makes theirs no better."""
    reported: Mapping[str, date]
    """Per reporter, the last day for which it reports any session of the domain."""
    report_days: frozenset[date]
    """The days for which anybody reports any session of the domain."""

    @property
    def sessions(self) -> int:
        """Failed sessions of the type with the most: `sts` and `tlsa` may describe the same sessions."""
        return max(self.failed.values(), default=0)


def is_gone(evidence: Evidence) -> bool:
    """Whether reports show that the failure is over for this domain. No reports show nothing.

    Sessions of any policy type count: once a policy can be fetched again, its sessions move to another type.
    """
    later = {day for day in evidence.report_days if day > evidence.last_day}
    if len(later) >= CLEAN_DAYS:
        return True
    return any(
        evidence.reported.get(reporter, evidence.last_day) > evidence.last_day
        for reporter in evidence.seen_by
    )


def is_problem(evidence: Iterable[Evidence], thresholds: Thresholds) -> bool:
    """Whether one cause is worth telling people of, weighed over all domains where it is not gone."""
    live = [each for each in evidence if not is_gone(each)]
    if len({reporter for each in live for reporter in each.seen_by}) >= thresholds.min_reporters:
        return True
    return any(
        _is_much(live, policy_type, thresholds)
        for policy_type in {key for each in live for key in each.failed}
    )


def _is_much(live: list[Evidence], policy_type: str, thresholds: Thresholds) -> bool:
    touched = [each for each in live if policy_type in each.failed]
    failed = sum(each.failed[policy_type] for each in touched)
    # a summary may claim fewer sessions than its own details: the larger number is nearer the truth
    total = sum(max(each.total.get(policy_type, 0), each.failed[policy_type]) for each in touched)
    return failed >= max(thresholds.min_sessions, 1) and 100 * failed >= thresholds.min_percent * total
