"""What the overview of a domain shows: sums over the daily tables, never over reports.

Everything is per policy type: `sts` and `tlsa` entries may describe the same sessions, so they are never
added to each other.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Generic, NamedTuple, TypeVar

from django.db.models import Max, Min, Sum

from mailward.store.scope import Scope

MAX_ROWS = 50
"""The largest rows of each table; what is beyond is counted."""

Row = TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


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
    # read once and added up here: each further look at a year of rows takes the database as long again
    cells = [
        _Cell(*row)
        for row in found.values_list("result_type", "host", "reporter", "sending_ip").annotate(
            Sum("sessions"), Min("day"), Max("day")
        )
    ]
    results = [
        ResultRow(*key, _sum(group), len({cell.reporter for cell in group}), _first(group), _last(group))
        for key, group in _grouped(cells, lambda cell: (cell.result_type, cell.host))
    ]
    hosts = [
        HostRow(key, _sum(group), len({cell.result_type for cell in group}), _last(group))
        for key, group in _grouped(cells, lambda cell: cell.host)
    ]
    sources = [
        SourceRow(*key, _sum(group), _last(group))
        for key, group in _grouped(cells, lambda cell: (cell.reporter, cell.sending_ip))
    ]
    return Failures(
        _top(sorted(results, key=lambda row: (-row.sessions, row.result_type, row.host))),
        _top(sorted(hosts, key=lambda row: (-row.sessions, row.host))),
        _top(sorted(sources, key=lambda row: (-row.sessions, row.reporter, row.sending_ip))),
        total=_sum(cells),
    )


class _Cell(NamedTuple):
    """The failures of one cause that one source met."""

    result_type: str
    host: str
    reporter: str
    sending_ip: str
    sessions: int
    first_day: date
    last_day: date


def _grouped(cells: Iterable[_Cell], key: Callable[[_Cell], Key]) -> Iterable[tuple[Key, list[_Cell]]]:
    groups: dict[Key, list[_Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups.items()


def _sum(cells: Iterable[_Cell]) -> int:
    return sum(cell.sessions for cell in cells)


def _first(cells: Iterable[_Cell]) -> date:
    return min(cell.first_day for cell in cells)


def _last(cells: Iterable[_Cell]) -> date:
    return max(cell.last_day for cell in cells)


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
    return _top(rows)


def _top(rows: Sequence[Row]) -> Top[Row]:
    return Top(tuple(rows[:MAX_ROWS]), max(0, len(rows) - MAX_ROWS))
