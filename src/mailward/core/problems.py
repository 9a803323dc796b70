"""When failures that reports tell of become a problem, and when it is gone.

A cause is a result type on a host. It is a problem of every domain whose reports show it. What is decided
here weighs counted reports only; the threat is a stranger who would make us cry wolf, or fall silent, by a
report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from mailward.core.suffixes import Suffixes

CLEAN_DAYS = 3
"""So many later days of reports without the failure show it gone, whoever sent them."""
SETTLES_AFTER = timedelta(hours=24)
"""So long after its end a UTC day may show a failure gone. Senders report a day in several reports, as they like: the
first may know nothing of what the next one tells.
"""
MAX_ALONE = 100
"""Open problems of an organisation that rest on the word of one reporter alone. One report can name 2,000 causes, and
each open problem costs some milliseconds whenever a domain of it is weighed. What others or our checks see too is none
of them.
"""
_SUFFIXES = Suffixes()
_Key = TypeVar("_Key")


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
    failed: Mapping[tuple[str, str], int]
    """Failed sessions of this cause, per policy type and reporter."""
    total: Mapping[tuple[str, str], int]
    """All sessions of the domain, per policy type and reporter."""
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
        return max(_by_type(self.failed, self.seen_by).values(), default=0)

    @property
    def still_seen_by(self) -> frozenset[str]:
        """Those of `seen_by` that tell of no later day without the failure."""
        return frozenset(
            reporter
            for reporter in self.seen_by
            if self.reported.get(reporter, self.last_day) <= self.last_day
        )


def is_gone(evidence: Evidence) -> bool:
    """Whether reports show that the failure is over for this domain. No reports show nothing, nor do those of days of
    which more may come.

    Sessions of any policy type count: once a policy can be fetched again, its sessions move to another type.
    """
    if _has_clean_days(evidence, evidence.settled_day):
        return True
    settled = evidence.settled
    return any(settled.get(reporter, evidence.last_day) > evidence.last_day for reporter in evidence.seen_by)


def seems_gone(evidence: Evidence) -> bool:
    """Whether it looks so by the reports that are here, of any day: then nothing new is told of it. Who saw it and sees
    it no more does not speak for the others: to report a failure and then a clean day would silence them.
    """
    return _has_clean_days(evidence, date.max) or not evidence.still_seen_by


def _has_clean_days(evidence: Evidence, until: date) -> bool:
    return len({day for day in evidence.report_days if evidence.last_day < day <= until}) >= CLEAN_DAYS


def is_problem(evidence: Iterable[Evidence], thresholds: Thresholds) -> bool:
    """Whether one cause is worth telling people of, weighed over all domains where it does not seem gone."""
    live = [each for each in evidence if not seems_gone(each)]
    if len({reporter for each in live for reporter in each.still_seen_by}) >= thresholds.min_reporters:
        return True
    return any(
        _is_much(live, policy_type, thresholds)
        for policy_type in {policy_type for each in live for policy_type, _ in each.failed}
    )


def owner_of(reporter: str) -> str:
    """The domain that somebody registered: its owner can sign as any name under it."""
    return _SUFFIXES.registered_domain(reporter)


def only_owner(reporters: Iterable[str]) -> str:
    """Whose word alone it is; "" where there are several."""
    owners = {owner_of(reporter) for reporter in reporters}
    return owners.pop() if len(owners) == 1 else ""


def held_back(opening: Mapping[_Key, Iterable[Evidence]], open_alone: Mapping[str, int]) -> set[_Key]:
    """Those that are not to be opened, since each would be one too many of one reporter alone: the ones with the fewest
    failed sessions.

    `open_alone`: how many are open already, by the owner of the reporter.
    """
    alone: dict[str, list[tuple[int, _Key]]] = {}
    for key, found in opening.items():
        evidence = list(found)
        if owner := only_owner(reporter for each in evidence for reporter in each.seen_by):
            alone.setdefault(owner, []).append((sum(each.sessions for each in evidence), key))
    held: set[_Key] = set()
    for owner, causes in alone.items():
        causes.sort(key=lambda each: each[0], reverse=True)
        held.update(key for _, key in causes[max(MAX_ALONE - open_alone.get(owner, 0), 0) :])
    return held


def _is_much(live: list[Evidence], policy_type: str, thresholds: Thresholds) -> bool:
    """By those who still see it: what others say of their own sessions, true or made up, makes theirs no better."""
    failed = total = 0
    for each in live:
        failing = _by_type(each.failed, each.still_seen_by).get(policy_type, 0)
        if failing:
            # a summary may claim fewer sessions than its own details: the larger number is nearer the truth
            failed += failing
            total += max(_by_type(each.total, each.still_seen_by).get(policy_type, 0), failing)
    return failed >= max(thresholds.min_sessions, 1) and 100 * failed >= thresholds.min_percent * total


def _by_type(sessions: Mapping[tuple[str, str], int], reporters: frozenset[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (policy_type, reporter), number in sessions.items():
        if reporter in reporters:
            found[policy_type] = found.get(policy_type, 0) + number
    return found
