"""What the pages show of domains: a page of the list in a fixed number of queries, whatever its length."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from mailward.core.names import InvalidName, parse_domain
from mailward.core.watch.upkeep import ELSEWHERE, IN_FRONT
from mailward.net import clock
from mailward.store.models import DailySessions, Domain, Organisation, ProblemDomain, RecordCheck
from mailward.store.queries.accounts import several_organisations
from mailward.store.scope import Scope

PAGE_SIZE = 50
SESSION_DAYS = 7
MAX_SEARCH = 253


class Show(StrEnum):
    """Which domains the list shows."""

    ALL = "all"
    PROBLEMS = "problems"
    RECORDS = "records"
    """Those whose records are not all right, or were never looked at."""
    UNSERVED = "unserved"


class RecordsSummary(StrEnum):
    RIGHT = "right"
    INCOMPLETE = "incomplete"
    """Some record is missing."""
    WRONG = "wrong"
    """Some record is wrong or conflicting."""
    UNKNOWN = "unknown"
    """DNS could not be asked."""
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Sessions:
    """Of the policy type with the most sessions: types may describe the same, so they are never added."""

    ok: int
    failed: int

    @property
    def total(self) -> int:
        return self.ok + self.failed


@dataclass(frozen=True, slots=True)
class DomainRow:
    name: str
    mode: str
    """Empty: there is no policy."""
    is_served: bool
    records: RecordsSummary
    sessions: Sessions | None
    """None: no counted report for the days shown."""
    open_problems: int


@dataclass(frozen=True, slots=True)
class DomainPage:
    rows: tuple[DomainRow, ...]
    number: int
    pages: int
    total: int
    """How many domains match."""


def list_domains(scope: Scope, *, search: str = "", show: Show = Show.ALL, number: int = 1) -> DomainPage:
    """Page `number` (from 1; beyond the last: the last) of the organisation's domains, by name."""
    found = _show(scope.domains(), show)
    if search:
        found = found.filter(name__contains=as_searched(search))
    total = found.count()
    pages = max(1, -(-total // PAGE_SIZE))
    number = min(max(number, 1), pages)
    start = (number - 1) * PAGE_SIZE
    found = found.select_related("current_version").alias(must_prove=_must_prove())
    found = found.annotate(is_served=~Q(must_prove=True) & Q(current_version__isnull=False))
    domains = list(found.order_by("name")[start : start + PAGE_SIZE])
    return DomainPage(_rows(domains), number, pages, total)


def summarise(states: Iterable[str]) -> RecordsSummary:
    """One word for the states of a domain's records; the worst that is known wins."""
    seen = set(states)
    if not seen:
        return RecordsSummary.UNCHECKED
    if seen & {"wrong", "conflicting"}:
        return RecordsSummary.WRONG
    if "missing" in seen:
        return RecordsSummary.INCOMPLETE
    return RecordsSummary.UNKNOWN if "unknown" in seen else RecordsSummary.RIGHT


def summarise_records(scope: Scope, domain_id: int, without: Collection[str] = ()) -> RecordsSummary:
    """The same for one domain. `without`: records that have no place there any more."""
    checks = scope.record_checks().filter(domain_id=domain_id).exclude(record__in=without)
    return summarise(checks.values_list("state", flat=True))


def is_served(domain: Domain) -> bool:
    """Whether the policy host serves the domain's policy; the rule is that of queries.hosting."""
    if domain.current_version_id is None:
        return False
    return domain.claim_verified_at is not None or not several_organisations()


def is_fronted(domain_id: int) -> bool | None:
    """Whether `mta-sts.<domain>` led to another server at the last look, which served our policy then or before: it may
    serve one of before for a while. None: that look saw nothing, and the one before is not kept.
    """
    check = RecordCheck.objects.filter(domain_id=domain_id, record="mta-sts").first()
    if check is None:
        return False
    if (check.state == "right" and check.detail == IN_FRONT) or (
        check.was_right and check.detail.startswith(ELSEWHERE)
    ):
        return True
    return None if check.was_right and check.state == "unknown" else False


def as_searched(search: str) -> str:
    """What a person typed to find domains by, as it stands in their names."""
    return as_stored(search.strip().lower()[:MAX_SEARCH])


def as_stored(search: str) -> str:
    """Names are kept as A-labels: whole labels in other scripts are found too."""
    try:
        return search if search.isascii() else parse_domain(search, allow_single=True)
    except InvalidName:
        return search


def _show(domains: QuerySet[Domain], show: Show) -> QuerySet[Domain]:
    match show:
        case Show.ALL:
            return domains
        case Show.PROBLEMS:
            return domains.filter(Exists(_open_problems().filter(domain=OuterRef("pk"))))
        case Show.RECORDS:
            checks = RecordCheck.objects.filter(domain=OuterRef("pk"))
            return domains.exclude(Exists(checks), ~Exists(checks.exclude(state="right")))
        case Show.UNSERVED:
            return domains.filter(Q(current_version=None) | _must_prove())


def _must_prove() -> Q:
    """Its claim is not proved, and there are several organisations: part of a query, so that it costs none."""
    return Q(Exists(Organisation.objects.exclude(pk=OuterRef("organisation_id"))), claim_verified_at=None)


def _rows(domains: Sequence[Domain]) -> tuple[DomainRow, ...]:
    ids = [domain.pk for domain in domains]
    states: dict[int, list[str]] = {}
    for domain_id, state in RecordCheck.objects.filter(domain_id__in=ids).values_list("domain_id", "state"):
        states.setdefault(domain_id, []).append(state)
    sessions = _sessions(ids)
    counts = _open_problems().filter(domain_id__in=ids).values("domain_id").annotate(n=Count("id"))
    problems = {row["domain_id"]: row["n"] for row in counts}
    return tuple(
        DomainRow(
            name=domain.name,
            mode=domain.current_version.mode if domain.current_version else "",
            is_served=domain.is_served,  # type: ignore[attr-defined]  # annotated by list_domains
            records=summarise(states.get(domain.pk, ())),
            sessions=sessions.get(domain.pk),
            open_problems=problems.get(domain.pk, 0),
        )
        for domain in domains
    )


def _sessions(ids: list[int]) -> dict[int, Sessions]:
    since = clock.today() - timedelta(days=SESSION_DAYS)
    rows = (
        DailySessions.objects.filter(domain_id__in=ids, day__gte=since)
        .values("domain_id", "policy_type")
        .annotate(ok_sum=Sum("ok"), failed_sum=Sum("failed"))
    )
    most: dict[int, Sessions] = {}
    for row in rows:
        sessions = Sessions(row["ok_sum"], row["failed_sum"])
        known = most.get(row["domain_id"])
        if known is None or sessions.total > known.total:
            most[row["domain_id"]] = sessions
    return most


def _open_problems() -> QuerySet[ProblemDomain]:
    return ProblemDomain.objects.filter(problem__closed_at=None, gone_at=None)
