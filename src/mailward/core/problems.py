"""When failures that reports tell of become a problem, and when it is gone.

A cause is a result type on a host. It is a problem of every domain whose reports show it. What is decided
here weighs counted reports only; the threat is a stranger who would make us cry wolf, or fall silent, by a
report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

CLEAN_DAYS = 3
"""So many later days of reports without the failure show it gone, whoever sent them."""
SETTLES_AFTER = timedelta(hours=24)
"""So long after its end a UTC day may show a failure gone. Senders report a day in several reports, as they like: the
first may know nothing of what the next one tells.
"""


def last_settled(now: datetime) -> date:
    """The last UTC day of which no more reports are expected."""
    return (now - SETTLES_AFTER).date() - timedelta(days=1)


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
    settled: Mapping[str, date]
    """The same of days up to `settled_day`."""
    settled_day: date
    """As `last_settled` says."""
    report_days: frozenset[date]
    """The days for which anybody reports any session of the domain."""

    @property
    def sessions(self) -> int:
        """Failed sessions of the type with the most: `sts` and `tlsa` may describe the same sessions."""
        return max(self.failed.values(), default=0)


def is_gone(evidence: Evidence) -> bool:
    """Whether reports show that the failure is over for this domain. No reports show nothing, nor do those of days of
    which more may come.

    Sessions of any policy type count: once a policy can be fetched again, its sessions move to another type.
    """
    return _is_gone(evidence, evidence.settled, evidence.settled_day)


def seems_gone(evidence: Evidence) -> bool:
    """Whether that is how it looks by the reports that are here, of any day: then nothing new is told of it."""
    return _is_gone(evidence, evidence.reported, date.max)


def _is_gone(evidence: Evidence, reported: Mapping[str, date], until: date) -> bool:
    later = {day for day in evidence.report_days if evidence.last_day < day <= until}
    if len(later) >= CLEAN_DAYS:
        return True
    return any(reported.get(reporter, evidence.last_day) > evidence.last_day for reporter in evidence.seen_by)


def is_problem(evidence: Iterable[Evidence], thresholds: Thresholds) -> bool:
    """Whether one cause is worth telling people of, weighed over all domains where it does not seem gone."""
    live = [each for each in evidence if not seems_gone(each)]
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
