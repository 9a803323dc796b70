"""Where the domains of an organisation are on the way to enforce: a page of the list, whatever its length."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from mailward.core.rollout.verdict import State
from mailward.net import clock
from mailward.store.models import AutomaticChoice, Domain, DomainEvent
from mailward.store.queries.domains import as_stored
from mailward.store.queries.evidence import CHUNK
from mailward.store.scope import Scope

PAGE_SIZE = 50
_EVENTS = 50
_CHOICES = 3
_SHOWN_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RolloutRow:
    name: str
    mode: str
    """Empty: there is no policy."""
    state: State | None
    """None: not judged yet."""
    sentence: str
    """The first reason."""
    others: int
    """How many reasons more."""
    is_automatic: bool
    hold_days: int
    ready_since: datetime | None


@dataclass(frozen=True, slots=True)
class RolloutPage:
    rows: tuple[RolloutRow, ...]
    number: int
    pages: int
    total: int


def list_rollouts(
    scope: Scope, *, search: str = "", state: State | None = None, number: int = 1
) -> RolloutPage:
    """Page `number` (from 1; beyond the last: the last), by name."""
    found = find_rollouts(scope, search=search, state=state)
    total = found.count()
    pages = max(1, -(-total // PAGE_SIZE))
    number = min(max(number, 1), pages)
    start = (number - 1) * PAGE_SIZE
    rows = found.select_related("current_version", "rollout").order_by("name")[start : start + PAGE_SIZE]
    return RolloutPage(tuple(_row(each) for each in rows), number, pages, total)


def find_rollouts(scope: Scope, *, search: str = "", state: State | None = None) -> QuerySet[Domain]:
    """What the list has on all its pages."""
    found: QuerySet[Domain] = scope.domains()
    if state is not None:
        found = found.filter(rollout__state=state.value)
    if search:
        found = found.filter(name__contains=as_stored(search.lower()))
    return found


def count_automatic(found: QuerySet[Domain]) -> int:
    """How many of them are enforced by themselves once they are ready, or were."""
    return found.filter(rollout__is_automatic=True).count()


def choices_shown(scope: Scope, profile_id: int | None = None) -> Sequence[AutomaticChoice]:
    """Those for many domains that are on their way, and the ones that came to their end within the last day; with
    `profile_id` of that profile alone. The latest first.
    """
    fresh = Q(finished_at=None) | Q(finished_at__gte=clock.now() - _SHOWN_FOR)
    rows = scope.automatic_choices().filter(fresh, total__gt=CHUNK)  # what was done at once is told at once
    if profile_id is not None:
        rows = rows.filter(profile_id=profile_id)
    return list(rows.defer("ids").order_by("-pk")[:_CHOICES])


def _row(domain: Domain) -> RolloutRow:
    row = getattr(domain, "rollout", None)
    state = State(row.state) if row is not None and row.state in set(State) else None
    return RolloutRow(
        domain.name,
        domain.current_version.mode if domain.current_version else "",
        state,
        row.sentence if row else "",
        max(0, len(row.codes) - 1) if row else 0,
        row.is_automatic if row else False,
        row.hold_days if row else 0,
        row.ready_since if row else None,
    )


def count_states(scope: Scope) -> dict[str, int]:
    """Domains in each state; the empty one is of those that were not judged yet."""
    judged = Q(rollout__isnull=False)
    rows = scope.domains().filter(judged).order_by().values_list("rollout__state").annotate(Count("pk"))
    counts = dict(rows)
    return counts | {"": counts.get("", 0) + scope.domains().exclude(judged).count()}


def history_of(scope: Scope, domain_id: int) -> Sequence[DomainEvent]:
    """The latest first."""
    rows = scope.domain_events().filter(domain_id=domain_id).select_related("author")
    return list(rows.order_by("-id")[:_EVENTS])
