"""Problems as pages show them: frozen rows, from the scope of the person who asks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, F, Max, Q, QuerySet, Sum

from mailward.core import problems as rules
from mailward.net import clock
from mailward.store.models import Problem
from mailward.store.queries.evidence import chunks, open_alone
from mailward.store.queries.sightings import Sighting, sighting_of
from mailward.store.scope import Scope

PAGE_ROWS = 50
_MOST_REPORTERS = 20
_MOST_TOLD = 200


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One cause."""

    id: int
    result_type: str
    host: str
    """Empty where reports do not say."""
    opened_at: datetime
    closed_at: datetime | None
    first_day: date
    last_day: date
    sessions: int
    reporters: int
    domains: int
    """Where it is not gone; of a closed problem, all that it touched."""
    cause: str = ""
    """The code of the finding, where checks of ours show it; else the result type."""
    reported_as: str = ""
    """The result type that senders report for it; empty: they report nothing."""


@dataclass(frozen=True, slots=True)
class ProblemPage:
    rows: tuple[ProblemRow, ...]
    number: int
    """From 1."""
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class TouchedDomain:
    domain_id: int
    name: str
    first_day: date
    last_day: date
    sessions: int
    gone_at: datetime | None
    is_reported: bool
    is_checked: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A person who was told, or is to be: `sent_at` None and `error` says why it failed so far."""

    recipient: str
    domains: int
    queued_at: datetime
    sent_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class ProblemDetail:
    problem: ProblemRow
    domains: tuple[TouchedDomain, ...]
    """One page of them: those where it lasts first."""
    page: int
    pages: int
    total: int
    told: tuple[Told, ...]
    """The first 200 people."""
    told_count: int


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One reporter alone tells of more causes than are opened on its word."""

    reporter: str
    """The domain that its owner registered."""
    causes: int
    """At most so many are not opened."""


@dataclass(frozen=True, slots=True)
class ReporterRow:
    reporter: str
    sessions: int
    last_day: date


def open_problems(scope: Scope, page: int = 1) -> ProblemPage:
    """What is wrong now, most domains first."""
    found = _counted(scope.problems().filter(closed_at__isnull=True))
    return _page(found.order_by(F("domain_count").desc(), "-opened_at", "id"), page)


def closed_problems(scope: Scope, page: int = 1) -> ProblemPage:
    """What is over, the latest first."""
    found = _counted(scope.problems().filter(closed_at__isnull=False))
    return _page(found.order_by("-closed_at", "id"), page)


def problem(scope: Scope, problem_id: int, page: int = 1) -> ProblemDetail | None:
    """One problem with a page of its domains; None: there is none such for this person."""
    found = _counted(scope.problems().filter(pk=problem_id)).first()
    if found is None:
        return None
    touched = scope.problem_domains().filter(problem_id=problem_id)
    total = touched.count()
    number, pages = _bounded(page, total)
    rows = touched.order_by(F("gone_at").asc(nulls_first=True), "domain__name").values_list(
        "domain_id",
        "domain__name",
        "first_day",
        "last_day",
        "sessions",
        "gone_at",
        "is_reported",
        "is_checked",
    )[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    told = scope.notifications().filter(problem_id=problem_id).order_by("recipient")
    return ProblemDetail(
        problem=_row(found),
        domains=tuple(TouchedDomain(*row) for row in rows),
        page=number,
        pages=pages,
        total=total,
        told=tuple(
            Told(*row)
            for row in told.values_list("recipient", "domains", "queued_at", "sent_at", "error")[:_MOST_TOLD]
        ),
        told_count=told.count(),
    )


def reporters_of_problem(scope: Scope, row: ProblemRow) -> tuple[ReporterRow, ...]:
    """Who reports it, most failed sessions first: at most 20."""
    failures = scope.daily_failures().filter(
        result_type=row.reported_as or row.result_type,
        host=row.host,
        day__range=(row.first_day, row.last_day),
    )
    summed = failures.values_list("reporter").annotate(sum=Sum("sessions"), last=Max("day"))
    return tuple(ReporterRow(*each) for each in summed.order_by("-sum", "reporter")[:_MOST_REPORTERS])


def sighting_of_problem(scope: Scope, row: ProblemRow) -> Sighting | None:
    """None: reports alone tell of it, or nothing shows it now."""
    domains = scope.problem_domains().filter(problem_id=row.id, is_checked=True, gone_at__isnull=True)
    return sighting_of(row.cause, [row.host], domains.values("domain_id"))


def held_back(scope: Scope, window_days: int, min_sessions: int) -> tuple[HeldBack, ...]:
    """By reporter, what is not listed for want of another witness; empty, and quick to say, in quiet times."""
    today = clock.today()
    first, last = today - timedelta(days=window_days), today + timedelta(days=1)
    open_now = set(scope.problems().filter(closed_at__isnull=True).values_list("reported_as", "host"))
    if len(open_now) < rules.MAX_ALONE:
        return ()
    found = []
    for owner, count in open_alone(scope.organisation_id, last).items():
        if count >= rules.MAX_ALONE:
            names = Q(reporter=owner) | Q(reporter__endswith=f".{owner}")
            told = scope.daily_failures().filter(names, day__range=(first, last))
            causes = told.values_list("result_type", "host").annotate(sum=Sum("sessions"))
            waiting = set(causes.filter(sum__gte=min_sessions).values_list("result_type", "host")) - open_now
            found.append(HeldBack(owner, len(waiting)))
    return tuple(each for each in sorted(found, key=lambda each: -each.causes) if each.causes)


def problems_of_domain(scope: Scope, domain_id: int) -> tuple[ProblemRow, ...]:
    """The open problems that touch this domain; counts are those of the whole problem."""
    touching = scope.problem_domains().filter(domain_id=domain_id, gone_at__isnull=True).values("problem_id")
    found = _counted(scope.problems().filter(pk__in=touching, closed_at__isnull=True))
    return tuple(_row(each) for each in found.order_by("-last_day", "id"))


def open_problem_counts(scope: Scope, domain_ids: Iterable[int]) -> dict[int, int]:
    """Domain id -> how many open problems touch it; a domain without any is not in it."""
    found: dict[int, int] = {}
    for chunk in chunks(sorted(set(domain_ids))):
        rows = scope.problem_domains().filter(
            domain_id__in=chunk, gone_at__isnull=True, problem__closed_at__isnull=True
        )
        found |= dict(rows.order_by().values_list("domain_id").annotate(count=Count("id")))
    return found


def _counted(problems: QuerySet[Problem]) -> QuerySet[Problem]:
    live = Q(domains__gone_at__isnull=True) | Q(closed_at__isnull=False)
    return problems.annotate(domain_count=Count("domains", filter=live))


def _page(found: QuerySet[Problem], page: int) -> ProblemPage:
    total = found.count()
    number, pages = _bounded(page, total)
    rows = found[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    return ProblemPage(tuple(_row(each) for each in rows), number, pages, total)


def _bounded(page: int, total: int) -> tuple[int, int]:
    """The page number brought into range, and how many pages there are: at least one, maybe empty."""
    pages = max(1, -(-total // PAGE_ROWS))
    return min(max(page, 1), pages), pages


def _row(found: Problem) -> ProblemRow:
    return ProblemRow(
        id=found.pk,
        result_type=found.result_type,
        host=found.host,
        opened_at=found.opened_at,
        closed_at=found.closed_at,
        first_day=found.first_day,
        last_day=found.last_day,
        sessions=found.sessions,
        reporters=found.reporters,
        domains=found.domain_count,  # type: ignore[attr-defined]  # annotated by _counted
        cause=found.cause,
        reported_as=found.reported_as,
    )
