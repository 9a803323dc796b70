"""The versions of a domain's policy, as its history shows them."""

import difflib
from dataclasses import dataclass
from datetime import datetime

from mailward.store.models import Domain, DomainEvent, PolicyVersion, VersionStep
from mailward.store.scope import Scope

PAGE_SIZE = 20
EVENTS_PAGE = 50


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: str
    """`added`, `removed` or `same`."""
    text: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    version: PolicyVersion
    diff: tuple[DiffLine, ...]
    """Against the version before; the first version is all added."""
    is_current: bool


def history(scope: Scope, domain: Domain, *, number: int = 1) -> tuple[list[HistoryEntry], int]:
    """Page `number` of the versions, newest first, and the number of pages."""
    versions = scope.policy_versions().filter(domain=domain)
    pages = max(1, -(-versions.count() // PAGE_SIZE))
    start = (min(max(number, 1), pages) - 1) * PAGE_SIZE
    # one more than is shown: the last one's diff needs its predecessor
    rows = list(versions.select_related("author").order_by("-number")[start : start + PAGE_SIZE + 1])
    texts = [row.text for row in rows[1:]] + [""]
    entries = [
        HistoryEntry(row, diff_lines(before, row.text), row.pk == domain.current_version_id)
        for row, before in zip(rows, texts, strict=True)
    ]
    return entries[:PAGE_SIZE], pages


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the current version has come (store.services.progress)."""

    served: tuple[VersionStep, ...]
    """One for each policy host that was asked."""
    announced_at: datetime | None
    seen: tuple[VersionStep, ...]
    """One for each authoritative server that was asked for the id."""
    is_announced: bool
    """True without `announced_at`: before there were steps."""

    @property
    def is_served(self) -> bool:
        return bool(self.served) and all(step.done_at for step in self.served)

    @property
    def is_seen(self) -> bool:
        return bool(self.seen) and all(step.done_at for step in self.seen)

    @property
    def is_done(self) -> bool:
        return self.is_announced and (self.is_seen or not self.served)


def progress_of(scope: Scope, domain: Domain) -> Progress | None:
    """None: there is no policy."""
    if domain.current_version_id is None:
        return None
    steps = list(scope.version_steps().filter(version_id=domain.current_version_id).order_by("place"))
    announced = next((step for step in steps if step.kind == "announced"), None)
    return Progress(
        tuple(step for step in steps if step.kind == "served"),
        announced.done_at if announced else None,
        tuple(step for step in steps if step.kind == "seen"),
        domain.announced_version_id == domain.current_version_id,
    )


def events_of(scope: Scope, domain: Domain, *, number: int = 1) -> tuple[list[DomainEvent], int]:
    """Page `number` of what was done to the domain, the latest first, and the number of pages."""
    rows = scope.domain_events().filter(domain=domain)
    pages = max(1, -(-rows.count() // EVENTS_PAGE))
    start = (min(max(number, 1), pages) - 1) * EVENTS_PAGE
    return list(rows.select_related("author").order_by("-id")[start : start + EVENTS_PAGE]), pages


def mode_since(scope: Scope, domain: Domain, mode: str) -> datetime | None:
    """Since when the policy has had this mode without a break; None: its last version has another one."""
    rows = scope.policy_versions().filter(domain=domain)
    other = rows.exclude(mode=mode).order_by("-number").first()
    first = rows.filter(number__gt=other.number if other else 0).order_by("number").first()
    return first.created_at if first else None


def diff_lines(before: str, after: str) -> tuple[DiffLine, ...]:
    """The whole of both policies, line by line: they are short, so nothing is left out."""
    kinds = {"+": "added", "-": "removed", " ": "same"}
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return tuple(DiffLine(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds)
