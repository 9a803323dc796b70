"""The names of the installation's own that certificates are ordered for: the policy host's, the report doors'.

They are in the settings, belong to no organisation, and need no proof. All else is as with domains (`certificates`).
"""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.store.models import AcmeOrder, Certificate, OwnNameCare


@transaction.atomic
def plan_own(names: Collection[str]) -> None:
    """Take care of the certificates of these names, and of no others any more."""
    known = set(OwnNameCare.objects.values_list("host", flat=True))
    if known == set(names):
        return
    now = clock.now()
    new = [_begin(host, now) for host in sorted(set(names) - known)]
    OwnNameCare.objects.bulk_create(new, ignore_conflicts=True)
    OwnNameCare.objects.exclude(host__in=names).delete()
    gone = AcmeOrder.objects.filter(domain=None, ended_at=None).exclude(host__in=names)
    gone.filter(url="").delete()
    gone.update(ended_at=now, token="", error="the name is not ours any more")


def _begin(host: str, now: datetime) -> OwnNameCare:
    current = (
        Certificate.objects.filter(domain=None, host=host, not_after__gt=now).order_by("sequence").last()
    )
    if current is None:
        return OwnNameCare(host=host, state=CareState.REACH, due_at=now, waiting_since=now)
    # ours again: what is still good is not ordered anew; when to renew it is the first thing that is asked
    return OwnNameCare(
        host=host, state=CareState.GOOD, current=current, renew_at=current.not_after, ask_at=now, due_at=now
    )


def was_issued_to() -> bool:
    """Whether some CA has issued here: it came to our port 80, or to our nameserver."""
    return Certificate.objects.filter(not_after__gt=clock.now()).exists()
