"""The versions of a domain's policy, as its history shows them."""

import difflib
from dataclasses import dataclass
from datetime import datetime

from mailward.store.models import Domain, PolicyVersion
from mailward.store.scope import Scope

PAGE_SIZE = 20


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


def first_served(scope: Scope, domain: Domain, mode: str) -> datetime | None:
    """When a version of this mode was first served; None: never."""
    first = scope.policy_versions().filter(domain=domain, mode=mode).order_by("number").first()
    return first.created_at if first else None


def diff_lines(before: str, after: str) -> tuple[DiffLine, ...]:
    """The whole of both policies, line by line: they are short, so nothing is left out."""
    kinds = {"+": "added", "-": "removed", " ": "same"}
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return tuple(DiffLine(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds)
