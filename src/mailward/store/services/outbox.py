"""The queue of work that follows from a commit: put in its transaction, done at least once, in any order.

One item a (kind, key). Asking again for what is pending is the same work; asking again for what a worker is
at just now runs it once more afterwards, because that worker may have read what was there before.

A claim lasts for a lease: a worker that dies gives its work back by doing nothing. Claims are single
conditional UPDATEs, which hold on SQLite and on PostgreSQL.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, CharField, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Cast

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models import OutboxItem

DEFAULT_LEASE = timedelta(minutes=5)
FIRST_RETRY = timedelta(seconds=15)
MAX_RETRY = timedelta(hours=1)
_ROWS_A_STATEMENT = 500
_ERROR_CHARACTERS = 500


class Item(NamedTuple):
    """Work to be put. `available_at` None means now."""

    kind: str
    key: str
    payload: Mapping[str, object] | None = None
    available_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Work that is ours until the lease ends. `version` tells this claim from any other."""

    id: int
    kind: str
    key: str
    payload: Mapping[str, Any]  # JSON: each kind knows its own shape
    attempts: int
    version: int


def put(
    kind: str, key: str, payload: Mapping[str, object] | None = None, available_at: datetime | None = None
) -> None:
    """Ask for work, from within the transaction that makes it necessary."""
    put_many([Item(kind, key, payload, available_at)])


def put_many(items: Iterable[Item]) -> None:
    """Ask for much work at once. The earlier time wins over what is pending; the newer payload too."""
    now = clock.now()
    # one row a key in a statement: PostgreSQL refuses to touch a row twice in one ON CONFLICT
    distinct = {(item.kind, item.key): item for item in items}
    rows = [
        (
            new_id(),
            item.kind,
            item.key,
            json.dumps(dict(item.payload or {})),
            connection.ops.adapt_datetimefield_value(item.available_at or now),
        )
        # sorted, so that two transactions lock the same rows in the same order
        for _, item in sorted(distinct.items())
    ]
    moment = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), _ROWS_A_STATEMENT):
            chunk = rows[start : start + _ROWS_A_STATEMENT]
            values = ", ".join(["(%s, %s, %s, %s, %s, NULL, 0, '', 0)"] * len(chunk))
            cursor.execute(_PUT.format(values=values), [*(value for row in chunk for value in row), moment])


# `version` is even from a claim on, odd once the work was asked for again. The first to ask while a worker
# is at it says when it runs again; of later ones, the earliest does.
_PUT = """
INSERT INTO store_outboxitem
    (id, kind, "key", payload, available_at, claimed_until, attempts, last_error, version)
VALUES {values}
ON CONFLICT (kind, "key") DO UPDATE SET
    payload = excluded.payload,
    available_at = CASE WHEN excluded.available_at < store_outboxitem.available_at
                          OR (store_outboxitem.claimed_until > %s AND store_outboxitem.version %% 2 = 0)
                        THEN excluded.available_at ELSE store_outboxitem.available_at END,
    version = store_outboxitem.version
            + CASE WHEN store_outboxitem.claimed_until IS NOT NULL AND store_outboxitem.version %% 2 = 0
                   THEN 1 ELSE 0 END
"""


def waiting_for(kind: str, subject: str, until: datetime | None = None) -> Exists:
    """For a query's filter: whether an item of this kind waits, whose key is the row's column `subject`. What is due
    is asked for without those: at the head of a bounded list they would keep all others out. `until`: not counting
    those that wait for longer.
    """
    items = OutboxItem.objects.filter(kind=kind, key=Cast(OuterRef(subject), CharField()))
    return Exists(items if until is None else items.filter(available_at__lte=until))


def due_kinds(kinds: Sequence[str]) -> list[str]:
    """Of these kinds, those of which there is work that may be claimed now."""
    moment = connection.ops.adapt_datetimefield_value(clock.now())
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join([_IS_DUE] * len(kinds)),
            [word for kind in kinds for word in (kind, kind, moment, moment)],
        )
        return [kind for (kind,) in cursor.fetchall()]


# by EXISTS: of thousands that wait, the first is enough
_IS_DUE = """SELECT CAST(%s AS VARCHAR(40)) WHERE EXISTS (SELECT 1 FROM store_outboxitem
    WHERE kind = %s AND available_at <= %s AND (claimed_until IS NULL OR claimed_until <= %s))"""


def claim(
    kinds: Sequence[str], limit: int = 50, lease: timedelta = DEFAULT_LEASE, *, newest_first: bool = False
) -> list[Claimed]:
    """Take up to `limit` due items of these kinds, the longest waiting first."""
    now = clock.now()
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now)
    due = OutboxItem.objects.filter(free, kind__in=kinds, available_at__lte=now).order_by(
        "-available_at" if newest_first else "available_at"
    )
    # a plain read first: polling an empty queue must not take SQLite's write lock
    ids = list(due.values_list("id", flat=True)[:limit])
    if not ids:
        return []
    moment, until = (connection.ops.adapt_datetimefield_value(each) for each in (now, now + lease))
    marks = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.format(ids=marks), [until, until, *ids, moment, moment])
        rows = cursor.fetchall()
    return [
        Claimed(id_, kind, key, json.loads(payload), attempts, version)
        for id_, kind, key, payload, attempts, version in sorted(rows)
    ]


# The conditions stand here again: another worker may have been faster since the read.
_CLAIM = """
UPDATE store_outboxitem SET claimed_until = %s, available_at = %s, attempts = attempts + 1,
    version = version + 2 - version %% 2
WHERE id IN ({ids}) AND available_at <= %s AND (claimed_until IS NULL OR claimed_until <= %s)
RETURNING id, kind, "key", payload, attempts, version
"""


@transaction.atomic
def done(claimed: Claimed | Iterable[Claimed]) -> None:
    """The work is finished: forget it, or let it run again where it was asked for again meanwhile."""
    for item in _each(claimed):
        row = OutboxItem.objects.filter(id=item.id)
        if not row.filter(version=item.version).delete()[0]:
            asked_again = row.filter(version=item.version + 1)
            asked_again.update(claimed_until=None, attempts=0, last_error="")


@transaction.atomic
def retry(claimed: Claimed | Iterable[Claimed], error: str, delay: timedelta | None = None) -> None:
    """The work failed for now: give it back for later, sooner only where it was asked for again meanwhile."""
    now = clock.now()
    for item in _each(claimed):
        later = now + (backoff(item.attempts) if delay is None else delay)
        OutboxItem.objects.filter(id=item.id, version__in=(item.version, item.version + 1)).update(
            claimed_until=None,
            available_at=Case(When(version=item.version, then=Value(later)), default=F("available_at")),
            last_error=error[:_ERROR_CHARACTERS],
        )


def note(claimed: Claimed, payload: Mapping[str, object]) -> None:
    """Let the next attempt know this, unless the work was asked for again meanwhile."""
    OutboxItem.objects.filter(id=claimed.id, version=claimed.version).update(payload=dict(payload))


def give_back(claimed: Iterable[Claimed]) -> None:
    """The work was not done, for no fault of its own: anybody may take it at once."""
    retry(claimed, "interrupted", timedelta(0))


def hasten(kind: str) -> None:
    """Let what waits for another attempt run now: the reason for its failure is gone."""
    waiting = OutboxItem.objects.filter(kind=kind, attempts__gt=0, claimed_until__isnull=True)
    waiting.filter(available_at__gt=clock.now()).update(available_at=clock.now())


def backoff(attempts: int, first: timedelta = FIRST_RETRY) -> timedelta:
    """How long to wait after this many attempts: doubling up to an hour, spread by a quarter either way."""
    wait = min(MAX_RETRY, first * (1 << min(max(attempts - 1, 0), 16)))
    return wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing


def _each(claimed: Claimed | Iterable[Claimed]) -> Iterable[Claimed]:
    return (claimed,) if isinstance(claimed, Claimed) else claimed
