"""Problems open, gather domains, and close, as the daily tables change.

Evidence is read without a transaction, so that weighing ten thousand domains never keeps a door waiting; only
what was decided is written, in one short transaction. Whatever changed since the reading has asked to be
assessed again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from django.db import transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, Sum
from django.db.models.functions import Greatest, Least

from mailward.config import Problems as Rules
from mailward.core.problems import (
    Evidence,
    Thresholds,
    held_back,
    is_gone,
    is_problem,
    last_settled,
    seems_gone,
)
from mailward.net import clock
from mailward.store.models import DailyFailures, DailySessions, DomainRecipient, Problem, ProblemDomain
from mailward.store.queries import evidence as read
from mailward.store.queries.evidence import Cause, Failure, Sessions
from mailward.store.services import outbox


@dataclass(frozen=True, slots=True)
class Assessment:
    """The ids of the problems that an assessment opened and closed."""

    opened: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()
    held_back: int = 0
    """Causes that would be too many of one reporter alone."""


@dataclass(frozen=True, slots=True)
class _Days:
    """The days looked at. Tomorrow is the last: a date far ahead would keep a problem open for ever."""

    first: date
    last: date
    settled: date
    """The last of which no more reports are expected."""


@dataclass(slots=True)
class _Changes:
    """What to write of one open problem."""

    live: dict[int, Evidence] = field(default_factory=dict)
    gone: dict[int, date] = field(default_factory=dict)
    """Domain id -> the last day of the failure that the decision rests on."""


def assess(domain_ids: Iterable[int], rules: Rules) -> Assessment:
    """Weigh again every cause that these domains show, or showed when they were assessed last."""
    ids = sorted(set(domain_ids))
    now = clock.now()
    today = now.date()
    days = _Days(today - timedelta(days=rules.window_days), today + timedelta(days=1), last_settled(now))
    fresh: set[Cause] = set()
    closed: list[int] = []
    for chunk in read.chunks(ids):
        found, changes = _weigh_open(chunk, days)
        fresh |= found
        closed += _write(changes, days, rules)
    opening = _weigh_fresh(fresh, days, rules)
    held = _held_back(opening, days)
    opened = [_open(cause, live, rules) for cause, live in opening.items() if cause not in held]
    return Assessment(tuple(opened), tuple(closed), len(held))


def put_settled() -> int:
    """Ask for the domains of open problems that have reports of a later day which has settled since: maybe no other
    report comes that would. Returns how many.
    """
    later = DailySessions.objects.filter(
        domain=OuterRef("domain"), day__gt=OuterRef("last_day"), day__lte=last_settled(clock.now())
    )
    rows = ProblemDomain.objects.filter(
        Exists(later), is_reported=True, gone_at__isnull=True, problem__closed_at__isnull=True
    )
    ids = list(rows.values_list("domain_id", flat=True).distinct())
    outbox.put_many(outbox.Item("assess", str(domain_id)) for domain_id in ids)
    return len(ids)


def _weigh_open(domain_ids: Sequence[int], days: _Days) -> tuple[set[Cause], dict[int, _Changes]]:
    """The causes of these domains that have no open problem, and what changes for those that have."""
    rows = _rows_of_open_problems(domain_ids)
    # a problem may have outlived the window: who saw it is read from its last day
    first = min([days.first, *(row.last_day for row in rows.values() if row.gone_at is None)])
    first = max(first, days.last - read.LONGEST)
    failures = read.failures_of_domains(domain_ids, first, days.last)
    problems = _open_problems(failures, tuple(rows.values()))
    concerned = {failure.domain_id for found in failures.values() for failure in found}
    concerned |= {domain_id for _, domain_id in rows}
    sessions = read.sessions_of(concerned, first, days.last, days.settled)
    changes: dict[int, _Changes] = {}
    for cause, problem_id in problems.items():
        weighed = read.weigh(failures.get(cause, ()), sessions, days.first, days.settled)
        change = _change(problem_id, domain_ids, weighed, rows, sessions, days.settled)
        if change.live or change.gone:
            changes[problem_id] = change
    in_window = {
        cause for cause, found in failures.items() if any(failure.day >= days.first for failure in found)
    }
    return in_window - problems.keys(), changes


def _rows_of_open_problems(domain_ids: Sequence[int]) -> dict[tuple[int, int], ProblemDomain]:
    rows = ProblemDomain.objects.filter(domain_id__in=domain_ids, problem__closed_at__isnull=True)
    rows = rows.exclude(problem__reported_as="")  # no report can tell of those
    return {(row.problem_id, row.domain_id): row for row in rows.select_related("problem")}


def _open_problems(causes: Iterable[Cause], rows: Sequence[ProblemDomain]) -> dict[Cause, int]:
    known = {_cause_of(row.problem) for row in rows}
    candidates = {row.problem_id: row.problem for row in rows}
    for condition in read.conditions_of((*known, *causes), "reported_as"):
        candidates |= Problem.objects.filter(condition, closed_at__isnull=True).in_bulk()
    found: dict[Cause, int] = {}
    # several findings may share the word that reports have: the problem that reports opened is theirs, else the oldest
    order = sorted(candidates.values(), key=lambda each: (each.result_type != each.reported_as, each.pk))
    for problem in order:
        found.setdefault(_cause_of(problem), problem.pk)
    return found


def _cause_of(problem: Problem) -> Cause:
    """As reports name it."""
    return Cause(problem.organisation_id, problem.reported_as, problem.host)


def _change(
    problem_id: int,
    domain_ids: Sequence[int],
    weighed: Mapping[int, Evidence],
    rows: Mapping[tuple[int, int], ProblemDomain],
    sessions: Mapping[int, Sessions],
    settled_day: date,
) -> _Changes:
    change = _Changes()
    for domain_id in domain_ids:
        evidence, row = weighed.get(domain_id), rows.get((problem_id, domain_id))
        if evidence is None:
            # its failures are no longer there to be read: only clean days can show it gone
            if row is not None and row.gone_at is None and is_gone(_remembered(row, sessions, settled_day)):
                change.gone[domain_id] = row.last_day
        elif row is not None and row.gone_at is None and is_gone(evidence):
            change.gone[domain_id] = evidence.last_day
        elif _is_live(row, evidence):
            change.live[domain_id] = evidence
    return change


def _is_live(row: ProblemDomain | None, evidence: Evidence) -> bool:
    """Of what is not gone, or was not there: a domain stays until it is gone, and comes if it does not seem so."""
    if row is not None and row.gone_at is None and row.is_reported:
        return True
    # what was gone comes back by a later day only: a late report of an earlier one is no news
    is_news = row is None or row.gone_at is None or evidence.last_day > row.last_day
    return is_news and not seems_gone(evidence)


def _remembered(row: ProblemDomain, sessions: Mapping[int, Sessions], settled_day: date) -> Evidence:
    known = sessions.get(row.domain_id, Sessions())
    return Evidence(
        domain_id=row.domain_id,
        first_day=row.first_day,
        last_day=row.last_day,
        seen_by=frozenset(),
        failed={},
        total={},
        reported=known.reported,
        settled=known.settled,
        settled_day=settled_day,
        report_days=frozenset(known.days),
    )


def _weigh_fresh(causes: set[Cause], days: _Days, rules: Rules) -> dict[Cause, dict[int, Evidence]]:
    """Those of `causes` that are problems, with the domains where they are not gone."""
    failures = read.failures_of_causes(causes, days.first, days.last)
    for cause, last_day in _closed_until(causes).items():
        # a problem that was closed comes back by new failures, not by those that it was closed on
        failures[cause] = [failure for failure in failures.get(cause, ()) if failure.day > last_day]
    thresholds = Thresholds(rules.min_reporters, rules.min_sessions, rules.min_percent)
    possible = {cause: found for cause, found in failures.items() if _may_be_problem(found, thresholds)}
    concerned = {failure.domain_id for found in possible.values() for failure in found}
    sessions = read.sessions_of(concerned, days.first, days.last, days.settled)
    opening = {}
    for cause, found in possible.items():
        weighed = read.weigh(found, sessions, days.first, days.settled)
        if is_problem(weighed.values(), thresholds):
            opening[cause] = {key: each for key, each in weighed.items() if not seems_gone(each)}
    return opening


def _held_back(opening: Mapping[Cause, Mapping[int, Evidence]], days: _Days) -> set[Cause]:
    held: set[Cause] = set()
    for organisation_id in {cause.organisation_id for cause in opening}:
        open_alone = read.open_alone(organisation_id, days.last)
        own = {
            cause: live.values()
            for cause, live in opening.items()
            if cause.organisation_id == organisation_id
        }
        held |= held_back(own, open_alone)
    return held


def _closed_until(causes: Iterable[Cause]) -> dict[Cause, date]:
    found = {}
    for condition in read.conditions_of(causes, "reported_as"):
        problems = Problem.objects.filter(condition, closed_at__isnull=False)
        for *key, last_day in problems.values_list("organisation_id", "reported_as", "host").annotate(
            Max("last_day")
        ):
            found[Cause(*key)] = last_day
    return found


def _may_be_problem(failures: Sequence[Failure], thresholds: Thresholds) -> bool:
    """Cheaply: whether it is worth reading the sessions of the domains concerned."""
    if len({failure.reporter for failure in failures}) >= thresholds.min_reporters:
        return True
    failed: dict[str, int] = defaultdict(int)
    for failure in failures:
        failed[failure.policy_type] += failure.sessions
    return max(failed.values(), default=0) >= thresholds.min_sessions


@transaction.atomic
def _open(cause: Cause, live: Mapping[int, Evidence], rules: Rules) -> int:
    now = clock.now()
    problem, _ = Problem.objects.get_or_create(
        **cause._asdict(),
        closed_at=None,
        defaults={
            "reported_as": cause.result_type,
            "opened_at": now,
            "first_day": min(each.first_day for each in live.values()),
            "last_day": max(each.last_day for each in live.values()),
            "sessions": sum(each.sessions for each in live.values()),
            "reporters": len({reporter for each in live.values() for reporter in each.seen_by}),
        },
    )
    _write_domains(problem.pk, cause.organisation_id, live)
    outbox.put("notify", str(problem.pk), available_at=now + timedelta(minutes=rules.settle_minutes))
    return problem.pk


def _write_domains(problem_id: int, organisation_id: int, live: Mapping[int, Evidence]) -> None:
    ProblemDomain.objects.bulk_create(
        [
            ProblemDomain(
                problem_id=problem_id,
                organisation_id=organisation_id,
                domain_id=domain_id,
                first_day=each.first_day,
                last_day=each.last_day,
                sessions=each.sessions,
                is_reported=True,
            )
            for domain_id, each in live.items()
        ],
        update_conflicts=True,
        unique_fields=["problem", "domain"],
        update_fields=["last_day", "sessions", "is_reported", "gone_at"],
    )


@transaction.atomic
def _write(changes: Mapping[int, _Changes], days: _Days, rules: Rules) -> list[int]:
    """Write what changed of open problems. Returns the ids of those that are closed by it."""
    now = clock.now()
    organisations = dict(Problem.objects.filter(pk__in=changes).values_list("id", "organisation_id"))
    for problem_id, change in changes.items():
        if problem_id not in organisations:
            continue
        joined = set(change.live) - _known(problem_id, change.live)
        _write_domains(problem_id, organisations[problem_id], change.live)
        rows = ProblemDomain.objects.filter(problem_id=problem_id, gone_at__isnull=True)
        for domain_id, last_day in change.gone.items():
            over = rows.filter(domain_id=domain_id, last_day__lte=last_day)
            over.filter(is_checked=False).update(gone_at=now)
            over.update(is_reported=False)
        # whoever hears of this domain alone has not heard of the problem yet
        if joined and DomainRecipient.objects.filter(domain_id__in=joined).exists():
            settled = now + timedelta(minutes=rules.settle_minutes)
            outbox.put("notify", str(problem_id), available_at=settled)
    _sum_up(list(organisations), days)
    return close_gone(list(organisations))


def _known(problem_id: int, domain_ids: Iterable[int]) -> set[int]:
    rows = ProblemDomain.objects.filter(problem_id=problem_id, domain_id__in=list(domain_ids))
    return set(rows.values_list("domain_id", flat=True))


def _sum_up(problem_ids: Sequence[int], days: _Days) -> None:
    rows = Problem.objects.filter(pk__in=problem_ids).exclude(reported_as="")
    problems = {_cause_of(row): row for row in rows}
    reporters: dict[int, int] = {}
    for condition in read.conditions_of(problems):
        failures = DailyFailures.objects.filter(condition, day__range=(days.first, days.last), sessions__gt=0)
        for *key, count in failures.values_list("organisation_id", "result_type", "host").annotate(
            Count("reporter", distinct=True)
        ):
            reporters[problems[Cause(*key)].pk] = count
    live = ProblemDomain.objects.filter(problem_id__in=problem_ids, gone_at__isnull=True)
    for problem_id, sessions, first_day, last_day in live.values_list("problem_id").annotate(
        Sum("sessions"), Min("first_day"), Max("last_day")
    ):
        Problem.objects.filter(pk=problem_id).update(
            sessions=sessions,
            first_day=Least("first_day", first_day),
            last_day=Greatest("last_day", last_day),
            **_reporters(reporters, problem_id),
        )


def _reporters(counts: Mapping[int, int], problem_id: int) -> dict[str, int]:
    """Nothing where the window holds no failure any more: the number last known stands."""
    return {"reporters": counts[problem_id]} if problem_id in counts else {}


def close_gone(problem_ids: Sequence[int] | None = None) -> list[int]:
    """Close those problems (None: any) that are gone for each of their domains, or have none left."""
    live = ProblemDomain.objects.filter(problem=OuterRef("pk"), gone_at__isnull=True)
    problems = Problem.objects.filter(~Exists(live), closed_at__isnull=True)
    if problem_ids is not None:
        problems = problems.filter(pk__in=problem_ids)
    closing = list(problems.values_list("id", flat=True))
    Problem.objects.filter(pk__in=closing, closed_at__isnull=True).update(closed_at=clock.now())
    return closing
