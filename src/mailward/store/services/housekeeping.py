"""Work that time brings, not a commit: what is put into the outbox again, and what is thrown away."""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db.models import F, Q

from mailward.net import clock
from mailward.store.ids import first_id_at
from mailward.store.models import Domain, Invitation, OutboxItem, Report, Trust
from mailward.store.queries.evidence import chunks
from mailward.store.services import outbox
from mailward.store.services.problems import close_gone

RECORDS_EVERY = timedelta(days=1)
_VERIFY_AFTER = timedelta(hours=1)
_VERIFY_WITHIN = timedelta(days=4)
_KEEP_INVITATIONS = timedelta(days=30)
_KEEP_STRAYS = timedelta(days=7)


def put_record_checks(limit: int) -> int:
    """Ask for the records of those domains that were not looked at for a day, at most `limit` of them."""
    overdue = Q(records_checked_at__isnull=True) | Q(records_checked_at__lte=clock.now() - RECORDS_EVERY)
    oldest = Domain.objects.filter(overdue).order_by(F("records_checked_at").asc(nulls_first=True), "id")
    return _put_missing("records", oldest.values_list("id", flat=True)[:limit])


def put_verifications(limit: int) -> int:
    """Ask again for reports that wait for DNS and were forgotten by the outbox, at most `limit` of them."""
    now = clock.now()
    # by id, which carries the time of arrival: `trust` has no index, and most reports do not wait
    ids = (first_id_at(now - _VERIFY_WITHIN), first_id_at(now - _VERIFY_AFTER))
    waiting = Report.objects.filter(id__range=ids, trust=Trust.PENDING).order_by("id")
    return _put_missing("verify", waiting.values_list("id", flat=True)[:limit])


def _put_missing(kind: str, ids: Iterable[int]) -> int:
    """Put those that are not in the outbox: what waits there for another attempt must not be hastened."""
    keys = [str(id_) for id_ in ids]
    for chunk in chunks(keys):
        present = set(OutboxItem.objects.filter(kind=kind, key__in=chunk).values_list("key", flat=True))
        outbox.put_many(outbox.Item(kind, key) for key in chunk if key not in present)
    return len(keys)


def sweep(kinds: Iterable[str]) -> None:
    """Throw away what has run out; `kinds` are those of the outbox that somebody handles."""
    now = clock.now()
    Session.objects.filter(expire_date__lt=now).delete()
    Invitation.objects.filter(expires_at__lt=now - _KEEP_INVITATIONS).delete()
    strays = OutboxItem.objects.exclude(kind__in=list(kinds))
    strays.filter(available_at__lt=now - _KEEP_STRAYS).delete()
    close_gone()
