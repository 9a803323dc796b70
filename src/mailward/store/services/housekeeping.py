"""Work that time brings, not a commit: what is put into the outbox again, and what is thrown away."""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q

from mailward.net import clock
from mailward.store.ids import first_id_at
from mailward.store.models import (
    Domain,
    Invitation,
    OutboxItem,
    QuarantinedMessage,
    RawMessage,
    RecordCheck,
    Report,
    Trust,
)
from mailward.store.services import outbox
from mailward.store.services.hosting import forget_old_changes
from mailward.store.services.problems import close_gone

RECORDS_EVERY = timedelta(hours=6)
_SET_UP = (
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=15)),
    (timedelta(days=30), timedelta(hours=1)),
)
"""How old a domain is at most, and how often its records are looked at while one of them is not right: people publish
them at any time, and the certificate that a front gets waits for that look.
"""
_EARLY = timedelta(seconds=10)
"""A look ends some seconds after the timer that asked for it; a whole interval later would be one timer too late."""
_VERIFY_AFTER = timedelta(hours=1)
_VERIFY_WITHIN = timedelta(days=4)
_KEEP_INVITATIONS = timedelta(days=30)
_KEEP_STRAYS = timedelta(days=7)
KEEP_ORPHANS = timedelta(days=1)
"""Bytes that nothing refers to: somebody may be looking at them."""
ORPHANS_EVERY = timedelta(minutes=10)
_ORPHANS_A_TRANSACTION = 20
"""Each may have 10 MiB, and nobody else writes meanwhile."""


def put_record_checks(limit: int) -> int:
    """Ask for the records of those domains that were not looked at for long, at most `limit` of them."""
    now = clock.now()
    overdue = Q(records_checked_at__isnull=True) | Q(records_checked_at__lte=now - RECORDS_EVERY)
    is_open = Exists(RecordCheck.objects.filter(domain=OuterRef("pk")).exclude(state="right"))
    for age, every in _SET_UP:
        overdue |= Q(is_open, created_at__gt=now - age, records_checked_at__lte=now - every + _EARLY)
    missing = Domain.objects.filter(overdue).exclude(outbox.waiting_for("records", "id"))
    oldest = missing.order_by(F("records_checked_at").asc(nulls_first=True), "id")
    return _put("records", oldest.values_list("id", flat=True)[:limit])


def put_verifications(limit: int) -> int:
    """Ask again for reports that wait for DNS and were forgotten by the outbox, at most `limit` of them."""
    now = clock.now()
    # by id, which carries the time of arrival: `trust` has no index, and most reports do not wait
    ids = (first_id_at(now - _VERIFY_WITHIN), first_id_at(now - _VERIFY_AFTER))
    waiting = Report.objects.filter(id__range=ids, trust=Trust.PENDING)
    forgotten = waiting.exclude(outbox.waiting_for("verify", "id")).order_by("id")
    return _put("verify", forgotten.values_list("id", flat=True)[:limit])


def _put(kind: str, ids: Iterable[int]) -> int:
    keys = [str(id_) for id_ in ids]
    outbox.put_many(outbox.Item(kind, key) for key in keys)
    return len(keys)


def sweep(kinds: Iterable[str]) -> None:
    """Throw away what has run out; `kinds` are those of the outbox that somebody handles."""
    now = clock.now()
    Session.objects.filter(expire_date__lt=now).delete()
    Invitation.objects.filter(expires_at__lt=now - _KEEP_INVITATIONS).delete()
    strays = OutboxItem.objects.exclude(kind__in=list(kinds))
    strays.filter(available_at__lt=now - _KEEP_STRAYS).delete()
    forget_old_changes()
    close_gone()


def put_orphans() -> None:
    """Begin a new round of `remove_orphans`, unless one is under way."""
    under_way = OutboxItem.objects.filter(kind="orphans").exists()
    if not under_way and RawMessage.objects.exists():
        outbox.put("orphans", "raw")


def remove_orphans(after: int, limit: int) -> int:
    """Of the next `limit` raw messages after this id, remove those that nothing refers to any more: a more
    trusted copy took their place, they left quarantine, or their domain was deleted.

    Returns the last id that was looked at; 0: that was the end. Nothing can come to refer to one again: whoever
    refers to a raw message was written in the same transaction.
    """
    young = first_id_at(clock.now() - KEEP_ORPHANS)
    window = RawMessage.objects.filter(id__gt=after, id__lt=young).order_by("id")
    ids = list(window.values_list("id", flat=True)[:limit])
    if not ids:
        return 0
    used = [model.objects.filter(raw=OuterRef("pk")) for model in (Report, QuarantinedMessage)]
    orphans = window.filter(*(~Exists(rows) for rows in used), id__lte=ids[-1])
    found = list(orphans.values_list("id", flat=True))
    for start in range(0, len(found), _ORPHANS_A_TRANSACTION):
        chunk = found[start : start + _ORPHANS_A_TRANSACTION]
        with connection.cursor() as cursor:
            # not by the ORM, which would take along whatever refers to them; the database refuses that
            cursor.execute(_REMOVE.format(ids=", ".join(["%s"] * len(chunk))), chunk)
    return ids[-1]


_REMOVE = "DELETE FROM store_rawmessage WHERE id IN ({ids})"
