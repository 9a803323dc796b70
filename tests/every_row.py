"""A row of each table, with a value in each column, and all rows of all tables as text: to tell whether a copy is one.

Runs in a process that has set Django up, on whatever database its settings name.
"""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import models, transaction

from mailward.store.copying import tables

_TEXT = "\N{LATIN SMALL LETTER E WITH ACUTE}\N{MUSICAL SYMBOL G CLEF} '\"\\"
_MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123457, UTC)
_VALUES: "tuple[tuple[type[models.Field[Any, Any]], Any], ...]" = (
    (models.BooleanField, True),
    (models.DateTimeField, _MOMENT),
    (models.DateField, date(2026, 2, 28)),
    (models.DurationField, timedelta(days=3, microseconds=7)),
    (models.DecimalField, Decimal("1.5")),
    (models.FloatField, 0.1),
    (models.BinaryField, bytes(range(256))),
    (models.JSONField, {"list": [1, None, 0.1, _TEXT], "empty": {}}),
    (models.GenericIPAddressField, "2001:db8::7"),
    (models.EmailField, "somebody@example.test"),
    (models.SmallIntegerField, 31_000),
    (models.PositiveSmallIntegerField, 31_000),
    (models.BigIntegerField, 2**62 + 1),
    (models.PositiveBigIntegerField, 2**62 + 1),
    (models.IntegerField, 2**31 - 1),
)


def fill_each_table() -> None:
    """Where there is a row already, only what is absent of the first one is made to lead somewhere."""
    waiting = tables()
    made: dict[type[models.Model], models.Model] = {}
    while waiting:
        ready = [model for model in waiting if all(to in made for to in _needed(model))]
        assert ready, f"none of {waiting} can be first"
        for model in ready:
            made[model] = model._base_manager.first() or _make(model, made)
        waiting = [model for model in waiting if model not in made]
    for model, row in made.items():
        _link(model, row, made)


def every_row() -> dict[str, list[dict[str, str]]]:
    """Each table's rows, as text by column, in the order of their keys."""
    return {
        model._meta.db_table: [
            {name: repr(_plain(value)) for name, value in row.items()}
            for row in model._base_manager.order_by("pk").values(
                *(field.attname for field in model._meta.concrete_fields)
            )
        ]
        for model in tables()
    }


def _target(field: "models.Field[Any, Any]") -> type[models.Model] | None:
    return field.related_model if isinstance(field, models.ForeignKey) else None


def _needed(model: type[models.Model]) -> set[type[models.Model]]:
    found = {_target(field) for field in model._meta.concrete_fields if not field.null}
    return {to for to in found if to is not None and to is not model}


def _make(model: type[models.Model], made: dict[type[models.Model], models.Model]) -> models.Model:
    values = {}
    for field in model._meta.concrete_fields:
        if to := _target(field):
            if not field.null:
                values[field.attname] = made[to].pk
        elif not (field.primary_key and (field.has_default() or isinstance(field, models.AutoField))):
            values[field.attname] = _value(field)
    with transaction.atomic():
        row = model(**values)
        row.save(force_insert=True)
    return row


def _link(model: type[models.Model], row: models.Model, made: dict[type[models.Model], models.Model]) -> None:
    """What may be absent leads to a row too."""
    names = {
        field.attname: made[to].pk
        for field in model._meta.concrete_fields
        if field.null and (to := _target(field))
    }
    if names:
        model._base_manager.filter(pk=row.pk).update(**names)


def _value(field: "models.Field[Any, Any]") -> object:
    if field.choices:
        return list(field.flatchoices)[-1][0]
    for kind, value in _VALUES:
        if isinstance(field, kind):
            return value
    text = f"{field.name} {_TEXT}" if isinstance(field, models.TextField) else f"{field.name}\N{EURO SIGN}"
    return text[: field.max_length] if field.max_length else text


def _plain(value: object) -> object:
    if isinstance(value, memoryview):
        return bytes(value)
    # objects of PostgreSQL's are in an order of its own
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
