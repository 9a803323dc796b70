"""All rows of one database into another: from SQLite to PostgreSQL, in one transaction."""

from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction

_ROWS = 500
_ROWS_WITH_BYTES = 20
"""Of tables with binary columns: a report may have 10 MiB."""


class NotEmpty(Exception):
    """Somebody uses the target already."""


class Incomplete(Exception):
    """A table has another number of rows afterwards; nothing was kept."""


def tables() -> list[type[models.Model]]:
    """Django's own among them, and those between two tables."""
    found = apps.get_models(include_auto_created=True)
    return sorted(
        (model for model in found if model._meta.managed and not model._meta.proxy),
        key=lambda model: model._meta.db_table,
    )


def copy_all(source: str, target: str, told: Callable[[str, int], None]) -> int:
    """Copy between two of Django's connections with the same tables; `told` hears of each table and its rows.

    All or nothing, as of one moment: the source is read in one transaction. Returns how many rows. Raises NotEmpty,
    Incomplete and django.db.Error.
    """
    everything = tables()
    total = 0
    with transaction.atomic(using=source), transaction.atomic(using=target):
        _check_empty(target)
        for model in everything:
            # what migrations put there: kinds of content, rights
            model._base_manager.using(target).all().delete()
        for model in everything:
            for rows in _batches(model, source):
                model._base_manager.using(target).bulk_create(rows)
        for model in everything:
            table = model._meta.db_table
            before, after = (model._base_manager.using(alias).count() for alias in (source, target))
            if before != after:
                raise Incomplete(f"{table} has {after} rows, not {before}")
            told(table, after)
            total += after
        with connections[target].cursor() as cursor:
            for statement in connections[target].ops.sequence_reset_sql(no_style(), everything):
                cursor.execute(statement)
    return total


def _check_empty(target: str) -> None:
    # an organisation alone is what the first start makes
    for name in ("User", "Domain"):
        if apps.get_model("store", name)._base_manager.using(target).exists():
            raise NotEmpty


def _batches(model: type[models.Model], source: str) -> Iterator[list[Any]]:
    has_bytes = any(isinstance(field, models.BinaryField) for field in model._meta.concrete_fields)
    size = _ROWS_WITH_BYTES if has_bytes else _ROWS
    batch: list[Any] = []
    for row in model._base_manager.using(source).order_by("pk").iterator(chunk_size=size):
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
