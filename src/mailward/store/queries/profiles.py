"""Profiles, their members and changes, as pages show them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, F, Q, Subquery
from django.db.models.expressions import OuterRef

from mailward.core.mtasts.policy import Mode
from mailward.core.names import Domain as Name
from mailward.store.models import (
    Effect,
    PolicyProfile,
    ProfileChange,
    ProfileChangeDomain,
    ProfileMember,
)
from mailward.store.queries.domains import as_searched
from mailward.store.queries.evidence import chunks
from mailward.store.scope import Scope

PAGE_SIZE = 50
WEAKENED = "weakened"
"""A filter beside those of Effect."""


@dataclass(frozen=True, slots=True)
class EffectCounts:
    by_effect: Mapping[str, int] = field(default_factory=dict)
    applied: int = 0
    undone: int = 0
    weakened: int = 0
    """Enforced before, and not with the change."""
    waves: tuple[tuple[int, int], ...] = ()
    """Of each wave: how many domains, and how many have the change."""

    def of(self, effect: str) -> int:
        return self.by_effect.get(effect, 0)


@dataclass(frozen=True, slots=True)
class MemberPage:
    rows: tuple[ProfileMember, ...]
    number: int
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class EffectPage:
    rows: tuple[ProfileChangeDomain, ...]
    number: int
    pages: int
    total: int


def list_profiles(scope: Scope) -> Sequence[PolicyProfile]:
    """With `count`, of their members, and `latest`, the state of the last change."""
    last = ProfileChange.objects.filter(profile=OuterRef("pk")).order_by("-pk").values("state")[:1]
    return list(scope.profiles().annotate(count=Count("members"), latest=Subquery(last)).order_by("name"))


def list_members(scope: Scope, profile_id: int, number: int, search: str = "") -> MemberPage:
    found = scope.profile_members().filter(profile_id=profile_id)
    if search:
        found = found.filter(domain__name__contains=as_searched(search))
    total, number, pages = _page(found.count(), number)
    rows = found.select_related("domain__current_version").order_by("domain__name")
    return MemberPage(tuple(rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]), number, pages, total)


def missing_names(scope: Scope, names: Iterable[Name]) -> Sequence[str]:
    """Those of them that are no domains of the organisation, in their order."""
    wanted, there = list(dict.fromkeys(names)), set[str]()
    for some in chunks(wanted):
        there.update(scope.domains().filter(name__in=some).values_list("name", flat=True))
    return [name for name in wanted if name not in there]


def count_effects(change: ProfileChange) -> EffectCounts:
    rows = change.domains.order_by()
    waves = (
        rows.filter(wave__gt=0)
        .values_list("wave")
        .annotate(all=Count("domain_id"), applied=Count("domain_id", filter=Q(applied_at__isnull=False)))
    )
    return EffectCounts(
        dict(rows.values_list("effect").annotate(Count("domain_id"))),
        rows.filter(applied_at__isnull=False).count(),
        rows.filter(undone_at__isnull=False).count(),
        rows.filter(_weakened(change)).count(),
        tuple((count, applied) for _, count, applied in sorted(waves)),
    )


def _weakened(change: ProfileChange) -> Q:
    """Protection that a change of many takes from some: it is no refusal, and must not go by unseen."""
    enforced = Q(effect=Effect.CHANGED, before__mode=Mode.ENFORCE)
    return enforced if change.mode != Mode.ENFORCE else enforced & Q(pk__in=())


@dataclass(frozen=True, slots=True)
class Told:
    """Of the domains that have the change: whether its id is told, which is when senders see it."""

    told: int = 0
    late: int = 0
    """Still told the id of a policy before."""
    silent: int = 0
    """No id of theirs was ever told: they are not set up yet."""

    @property
    def is_most(self) -> bool:
        """Some always wait for a server of their own: nine in ten will do."""
        return self.late * 10 <= self.told + self.late


def count_told(change: ProfileChange) -> Told:
    """Not counting those whose policy was changed since, or that have it from before."""
    having = change.domains.filter(
        applied_at__isnull=False, undone_at__isnull=True, after=F("domain__current_version")
    )
    is_told = Q(domain__announced_version=F("after"))
    counts = having.aggregate(
        all=Count("pk"),
        told=Count("pk", filter=is_told),
        silent=Count("pk", filter=Q(domain__announced_version__isnull=True)),
    )
    return Told(counts["told"], counts["all"] - counts["told"] - counts["silent"], counts["silent"])


def list_effects(change: ProfileChange, show: str | None, number: int, search: str = "") -> EffectPage:
    """`show`: one of Effect, or WEAKENED; None: all."""
    found = change.domains.all()
    if show == WEAKENED:
        found = found.filter(_weakened(change))
    elif show is not None:
        found = found.filter(effect=show)
    if search:
        found = found.filter(domain__name__contains=as_searched(search))
    total, number, pages = _page(found.count(), number)
    rows = found.select_related("domain", "before").order_by("domain__name")
    return EffectPage(tuple(rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]), number, pages, total)


def _page(total: int, number: int) -> tuple[int, int, int]:
    pages = max(1, -(-total // PAGE_SIZE))
    return total, min(max(number, 1), pages), pages
