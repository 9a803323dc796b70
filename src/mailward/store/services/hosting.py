"""Telling policy host and nameserver that what they serve has changed."""

import secrets

from django.db import connection, transaction
from django.db.models import F

from mailward.store.models import HostingChange, HostingGeneration

_MAX_NAMED = 5_000
"""Beyond that, reading everything is the same work."""
KEEP_GENERATIONS = 20_000
_MARK_BITS = 62
CHANNEL = "mailward_hosting"
"""Where PostgreSQL tells every node of a commit that changed what is served."""
_SERIALS = 2**32
OWN_NAMES = 0
"""The id of no domain: what we say of the installation's own names has changed, and of no domain."""


@transaction.atomic
def bump_generation(*domain_ids: int, zone: bool = True) -> None:
    """Count up in the transaction of the change: once that is committed, policy host and nameserver take it up.

    Named domains alone are read again, which costs the same however many there are; without names, all. `zone`:
    whether anything changes that our nameserver says (another serial sends every secondary for the whole zone).
    """
    mark = secrets.randbits(_MARK_BITS)
    # the row is ours from here to the commit, so that generations are committed in their order
    values = {"zone_value": F("value") + 1} if zone else {}
    row = HostingGeneration.objects.filter(pk=1)
    if not row.update(value=F("value") + 1, mark=mark, **values):
        HostingGeneration.objects.get_or_create(pk=1)  # another node may be as far at the same moment
        row.update(value=F("value") + 1, mark=mark, **values)
    _note(mark, domain_ids)


@transaction.atomic
def raise_serial(past: int) -> None:
    """Secondaries have seen the serial `past`, and the database does not know of it: a backup was restored. Count
    on from there, so that the next serial is newer for them (RFC 1982), on every node.
    """
    row = HostingGeneration.objects.select_for_update().get_or_create(pk=1)[0]
    row.value += (past - row.value) % _SERIALS + 1
    row.zone_value = row.value
    row.mark = secrets.randbits(_MARK_BITS)
    row.save()
    _note(row.mark, ())


def forget_old_changes() -> None:
    """Who is so far behind reads everything."""
    current = HostingGeneration.objects.filter(pk=1).values_list("value", flat=True).first() or 0
    HostingChange.objects.filter(generation__lt=current - KEEP_GENERATIONS).delete()


def tell_nodes() -> None:
    """With the commit. SQLite has no such thing: whoever follows it looks five times a second."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def _note(mark: int, domain_ids: tuple[int, ...]) -> None:
    generation = HostingGeneration.objects.values_list("value", flat=True).get(pk=1)
    named: tuple[int | None, ...] = domain_ids if 0 < len(domain_ids) <= _MAX_NAMED else (None,)
    HostingChange.objects.bulk_create(
        HostingChange(generation=generation, mark=mark, domain_id=domain_id) for domain_id in named
    )
    tell_nodes()
