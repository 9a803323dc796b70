"""What the daily tables say of causes of failure: read in bulk, without a transaction.

Failures are read either for some domains (all their causes) or for some causes (all domains that they touch),
and sessions for the domains concerned.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

from django.db.models import F, Max, Q, Sum

from mailward.core.problems import Evidence, only_owner
from mailward.store.models import DailyFailures, DailySessions, Problem

CHUNK = 500
"""Values in one IN (...): SQLite allows 999 in older builds."""

LONGEST = timedelta(days=90)
"""Daily rows older than this are not read, however long a problem is open."""

_T = TypeVar("_T")


class Cause(NamedTuple):
    organisation_id: int
    result_type: str
    host: str


class Failure(NamedTuple):
    """Failed sessions of one cause, over all sending addresses."""

    domain_id: int
    policy_type: str
    reporter: str
    day: date
    sessions: int


@dataclass(slots=True)
class Sessions:
    """All sessions of one domain."""

    total: dict[tuple[str, str], int] = field(default_factory=dict)
    """By policy type and reporter."""
    reported: dict[str, date] = field(default_factory=dict)
    settled: dict[str, date] = field(default_factory=dict)
    days: set[date] = field(default_factory=set)


_NO_SESSIONS = Sessions()


def failures_of_domains(domain_ids: Sequence[int], first: date, last: date) -> dict[Cause, list[Failure]]:
    """Every cause that these domains show on the days from `first` to `last`."""
    found: dict[Cause, list[Failure]] = defaultdict(list)
    for chunk in chunks(domain_ids):
        _read_failures(found, Q(domain_id__in=chunk), first, last)
    return found


def failures_of_causes(causes: Iterable[Cause], first: date, last: date) -> dict[Cause, list[Failure]]:
    """These causes with all the domains that show them on the days from `first` to `last`."""
    found: dict[Cause, list[Failure]] = defaultdict(list)
    for condition in conditions_of(causes):
        _read_failures(found, condition, first, last)
    return found


def conditions_of(causes: Iterable[Cause], field: str = "result_type") -> Iterator[Q]:
    """Conditions that together select these causes, each of bounded size; `field` holds their result type."""
    hosts: dict[tuple[int, str], list[str]] = defaultdict(list)
    for cause in causes:
        hosts[cause.organisation_id, cause.result_type].append(cause.host)
    for (organisation_id, result_type), names in hosts.items():
        for chunk in chunks(names):
            yield Q(organisation_id=organisation_id, host__in=chunk, **{field: result_type})


def _read_failures(found: dict[Cause, list[Failure]], condition: Q, first: date, last: date) -> None:
    rows = (
        DailyFailures.objects.filter(condition, day__range=(first, last), sessions__gt=0)
        .values_list("organisation_id", "result_type", "host", "domain_id", "policy_type", "reporter", "day")
        .annotate(Sum("sessions"))
        .order_by()
    )
    for organisation_id, result_type, host, *rest in rows.iterator(10_000):
        found[Cause(organisation_id, result_type, host)].append(Failure(*rest))


def open_alone(organisation_id: int, last: date) -> Counter[str]:
    """How many open problems rest on the word of one reporter alone, by the domain that its owner registered."""
    # where one of our checks shows it, it has a code
    problems = Problem.objects.filter(
        organisation_id=organisation_id, closed_at__isnull=True, code="", reporters__gt=0
    )
    causes = [Cause(organisation_id, *row) for row in problems.values_list("reported_as", "host")]
    reporters: dict[tuple[str, str], set[str]] = defaultdict(set)
    for condition in conditions_of(causes):
        failures = DailyFailures.objects.filter(condition, day__range=(last - LONGEST, last), sessions__gt=0)
        for result_type, host, reporter in failures.values_list("result_type", "host", "reporter").distinct():
            reporters[result_type, host].add(reporter)
    owners = Counter(only_owner(names) for names in reporters.values())
    del owners[""]
    return owners


def sessions_of(domain_ids: Iterable[int], first: date, last: date, settled_day: date) -> dict[int, Sessions]:
    """The sessions of these domains on the days from `first` to `last`."""
    found: dict[int, Sessions] = defaultdict(Sessions)
    for chunk in chunks(sorted(domain_ids)):
        rows = DailySessions.objects.filter(domain_id__in=chunk, day__range=(first, last)).order_by()
        # a report of no sessions shows nothing
        rows = rows.filter(Q(ok__gt=0) | Q(failed__gt=0))
        by_reporter = rows.values_list("domain_id", "policy_type", "reporter")
        for domain_id, policy_type, reporter, total, day, settled in by_reporter.annotate(
            sessions=Sum(F("ok") + F("failed")),
            latest=Max("day"),
            settled=Max("day", filter=Q(day__lte=settled_day)),
        ):
            sessions = found[domain_id]
            sessions.total[policy_type, reporter] = total
            sessions.reported[reporter] = max(sessions.reported.get(reporter, day), day)
            if settled is not None:
                sessions.settled[reporter] = max(sessions.settled.get(reporter, settled), settled)
        for domain_id, day in rows.values_list("domain_id", "day").distinct():
            found[domain_id].days.add(day)
    return found


def weigh(
    failures: Iterable[Failure], sessions: Mapping[int, Sessions], counted_from: date, settled_day: date
) -> dict[int, Evidence]:
    """Evidence per domain for the failures of one cause. Counts are those of days from `counted_from` on."""
    by_domain: dict[int, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_domain[failure.domain_id].append(failure)
    return {
        domain_id: _weigh_domain(
            domain_id, rows, sessions.get(domain_id, _NO_SESSIONS), counted_from, settled_day
        )
        for domain_id, rows in by_domain.items()
    }


def _weigh_domain(
    domain_id: int, rows: list[Failure], sessions: Sessions, counted_from: date, settled_day: date
) -> Evidence:
    failed: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if row.day >= counted_from:
            failed[row.policy_type, row.reporter] += row.sessions
    days = [row.day for row in rows]
    return Evidence(
        domain_id=domain_id,
        first_day=min(days),
        last_day=max(days),
        seen_by=frozenset(row.reporter for row in rows),
        failed=failed,
        total=sessions.total,
        reported=sessions.reported,
        settled=sessions.settled,
        settled_day=settled_day,
        report_days=frozenset(sessions.days),
    )


def chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
