"""Imports as their pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count

from mailward.store.models import DomainImport, ImportRow
from mailward.store.queries.domains import as_searched
from mailward.store.scope import Scope

PAGE_SIZE = 100
_RECENT = 10


@dataclass(frozen=True, slots=True)
class RowPage:
    rows: tuple[ImportRow, ...]
    number: int
    pages: int
    total: int


def list_imports(scope: Scope) -> Sequence[DomainImport]:
    """The latest first."""
    return list(scope.domain_imports().select_related("author").order_by("-pk")[:_RECENT])


def count_verdicts(made: DomainImport) -> dict[str, int]:
    """The empty one is of rows that were not looked at yet."""
    return dict(made.rows.order_by().values_list("verdict").annotate(Count("number")))


def list_rows(made: DomainImport, verdict: str | None, number: int, search: str = "") -> RowPage:
    found = made.rows.order_by("number")
    if verdict is not None:
        found = found.filter(verdict=verdict)
    if search:
        found = found.filter(name__contains=as_searched(search))
    total = found.count()
    pages = max(1, -(-total // PAGE_SIZE))
    number = min(max(number, 1), pages)
    return RowPage(tuple(found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]), number, pages, total)
