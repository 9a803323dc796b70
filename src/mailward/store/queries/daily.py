"""What the overview of a domain shows: sums over the daily tables, never over reports.

Everything is per policy type: `sts` and `tlsa` entries may describe the same sessions, so they are never
added to each other.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Generic, TypeVar

from django.db.models import Count, Max, Min, Sum

from mailward.store.scope import Scope

MAX_ROWS = 50
"""The largest rows of each table; what is beyond is counted."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Window:
    """UTC days, both ends included."""

    first: date
    last: date

    @classmethod
    def ending(cls, last: date, days: int) -> "Window":
        return cls(last - timedelta(days=days - 1), last)

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    ok: int
    failed: int
    reports: int
    """0: nobody reported, which is not the same as no failure."""

    @property
    def total(self) -> int:
        return self.ok + self.failed


@dataclass(frozen=True, slots=True)
class Timeline:
    """The days of one policy type, gaps filled with days without a report."""

    policy_type: str
    days: tuple[Day, ...]

    @property
    def ok(self) -> int:
        return sum(day.ok for day in self.days)

    @property
    def failed(self) -> int:
        return sum(day.failed for day in self.days)

    @property
    def total(self) -> int:
        return self.ok + self.failed

    @property
    def reports(self) -> int:
        return sum(day.reports for day in self.days)


@dataclass(frozen=True, slots=True)
class ResultRow:
    result_type: str
    host: str
    """The MX host or policy host; empty: not said."""
    sessions: int
    reporters: int
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class HostRow:
    host: str
    sessions: int
    result_types: int
    last_day: date


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A sending source: the reporting organisation and the address that its mail server sent from."""

    reporter: str
    sending_ip: str
    """Empty: not said."""
    sessions: int
    last_day: date


@dataclass(frozen=True, slots=True)
class ReporterRow:
    reporter: str
    ok: int
    failed: int
    reports: int
    last_day: date


@dataclass(frozen=True, slots=True)
class Top(Generic[Row]):
    rows: tuple[Row, ...]
    more: int
    """How many rows there are beyond."""


def timelines(scope: Scope, domain_id: int, window: Window) -> tuple[Timeline, ...]:
    """One for each policy type that was reported, the one with the most sessions first."""
    found = (
        scope.daily_sessions()
        .filter(domain_id=domain_id, day__range=(window.first, window.last))
        .values_list("policy_type", "day")
        .annotate(ok_sum=Sum("ok"), failed_sum=Sum("failed"), reports_sum=Sum("reports"))
    )
    by_type: dict[str, dict[date, Day]] = {}
    for policy_type, day, ok, failed, reports in found:
        by_type.setdefault(policy_type, {})[day] = Day(day, ok, failed, reports)
    lines = [
        Timeline(kind, tuple(days.get(day) or Day(day, 0, 0, 0) for day in window.days))
        for kind, days in by_type.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.total, line.policy_type)))


def last_reported_day(scope: Scope, domain_id: int) -> date | None:
    """The last UTC day that any counted report is about."""
    found: date | None = scope.daily_sessions().filter(domain_id=domain_id).aggregate(last=Max("day"))["last"]
    return found


@dataclass(frozen=True, slots=True)
class Failures:
    """The failures of one policy type in a window, seen from each side."""

    results: Top[ResultRow]
    hosts: Top[HostRow]
    sources: Top[SourceRow]
    total: int
    """Failed sessions in all details. The totals of the same reports may say another number."""


def failures(scope: Scope, domain_id: int, policy_type: str, window: Window) -> Failures:
    found = scope.daily_failures().filter(
        domain_id=domain_id, day__range=(window.first, window.last), policy_type=policy_type
    )
    results = (
        found.values_list("result_type", "host")
        .annotate(
            sum=Sum("sessions"),
            who=Count("reporter", distinct=True),
            first=Min("day"),
            last=Max("day"),
        )
        .order_by("-sum", "result_type", "host")
    )
    hosts = (
        found.values_list("host")
        .annotate(sum=Sum("sessions"), kinds=Count("result_type", distinct=True), last=Max("day"))
        .order_by("-sum", "host")
    )
    sources = (
        found.values_list("reporter", "sending_ip")
        .annotate(sum=Sum("sessions"), last=Max("day"))
        .order_by("-sum", "reporter", "sending_ip")
    )
    host_rows = tuple(HostRow(*row) for row in hosts)
    return Failures(
        _top(tuple(ResultRow(*row) for row in results)),
        _top(host_rows),
        _top(tuple(SourceRow(*row) for row in sources)),
        total=sum(row.sessions for row in host_rows),
    )


def reporters(scope: Scope, domain_id: int, policy_type: str, window: Window) -> Top[ReporterRow]:
    """Who reported, the one that saw most sessions first."""
    found = (
        scope.daily_sessions()
        .filter(domain_id=domain_id, day__range=(window.first, window.last), policy_type=policy_type)
        .values_list("reporter")
        .annotate(ok_sum=Sum("ok"), failed_sum=Sum("failed"), sum=Sum("reports"), last=Max("day"))
    )
    rows = [ReporterRow(*row) for row in found]
    rows.sort(key=lambda row: (-(row.ok + row.failed), row.reporter))
    return _top(tuple(rows))


def _top(rows: tuple[Row, ...]) -> Top[Row]:
    return Top(rows[:MAX_ROWS], max(0, len(rows) - MAX_ROWS))
