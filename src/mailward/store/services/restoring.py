"""After a backup was brought back: what others have seen since must not come again as something else."""

from django.contrib.sessions.models import Session
from django.db import transaction

from mailward.store.models import HostingGeneration, Invitation
from mailward.store.services.hosting import raise_serial

_AHEAD = 2**24
"""A change a second for half a year: more than the lost database can have seen since the backup. Far below 2**31, up to
which a serial is newer (RFC 1982 section 3.2)."""


@transaction.atomic
def put_forward() -> None:
    """The zone's serial is beyond all that secondaries have seen, so that they take the restored zone; and whoever
    had signed out since the backup, or used a one-time link, does not find either open again.

    What needs nothing: an id of a policy is made from its time and text, and is only ever compared for being the same
    (RFC 8461 section 3.3); identifiers of rows are made from the time; nodes that followed the lost database notice it
    by the generation's mark, and compare certificates by themselves; an order that the CA no longer knows is placed
    anew; a lease of a dead node ends by its time.
    """
    current = HostingGeneration.objects.get_or_create(pk=1)[0].value
    raise_serial(current + _AHEAD)
    Session.objects.all().delete()
    Invitation.objects.filter(used_at=None).delete()
