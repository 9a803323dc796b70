"""What MX hosts showed, shared by all domains; and the right to connect to one: one at a time, so many an hour.

Claims are conditional UPDATEs, so that several workers keep to the same bounds. A worker that dies gives its claim back
when its time is over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import Case, F, Q, Value, When

from mailward.core.check.facts import Session
from mailward.core.watch.keeping import pack_session, says_something, unpack_session
from mailward.core.watch.sameness import digest_session
from mailward.net import clock
from mailward.store.models import MxLook, MxTarget, ProbeSlot, Problem, ServiceState, WatchFinding

_HOUR = timedelta(hours=1)
_INTRODUCTION = "ehlo"
"""The name of that in ServiceState."""
BRIDGED = timedelta(days=3)
"""So long a host that shows nothing now is judged by what it showed last."""
_UNUSED_TARGETS = timedelta(days=30)
_ROWS_A_TRANSACTION = 500


class Claim(StrEnum):
    OURS = "ours"
    BUSY = "busy"
    """Somebody else speaks to it just now."""
    FULL = "full"
    """It had its connections for this hour."""


class Heat(StrEnum):
    """How often it is worth looking at a host."""

    CALM = "calm"
    TROUBLE = "trouble"
    """A problem is open there."""
    PENDING = "pending"
    """Something was seen there once, and waits to be seen again."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an address of an MX host."""

    session: Session | None = None
    """The last that said anything about TLS; None: none did."""
    look_id: int | None = None
    looked_at: datetime | None = None
    observed_at: datetime | None = None
    reason: str = ""
    """Why the last attempt saw nothing."""
    deep_at: datetime | None = None

    def usable(self, now: datetime) -> Session | None:
        """What to judge by."""
        if self.session is None or self.observed_at is None or now - self.observed_at > BRIDGED:
            return None
        return self.session


def recall(host: str, address: str) -> Known:
    target = MxTarget.objects.select_related("current").filter(host=host, address=address).first()
    if target is None:
        return Known()
    look = target.current
    return Known(
        unpack_session(bytes(look.session)) if look else None,
        look.pk if look else None,
        target.looked_at,
        target.observed_at,
        target.reason,
        target.deep_at,
    )


def heat_of(host: str) -> Heat:
    rows = WatchFinding.objects.filter(host=host, is_baseline=False)
    if rows.filter(Q(is_open=False) | Q(clear__gt=0)).exists():
        return Heat.PENDING
    if Problem.objects.filter(host=host, closed_at__isnull=True).exists():
        return Heat.TROUBLE
    return Heat.CALM


def claim(host: str, address: str, *, connections: int, most_an_hour: int, lease: timedelta) -> Claim:
    """The right to connect to this address so many times, one after another."""
    if not _take(host, 0, most_an_hour, lease):
        return Claim.BUSY
    if _take(address, connections, most_an_hour, lease):
        return Claim.OURS
    release(host)
    slot = ProbeSlot.objects.filter(key=address, claimed_until__gt=clock.now())
    return Claim.BUSY if slot.exists() else Claim.FULL


def release(*keys: str) -> None:
    ProbeSlot.objects.filter(key__in=keys).update(claimed_until=None)


def _take(key: str, connections: int, most_an_hour: int, lease: timedelta) -> bool:
    now = clock.now()
    ProbeSlot.objects.get_or_create(key=key, defaults={"window_at": now})
    is_old = Q(window_at__lte=now - _HOUR) | Q(window_at__gt=now)  # a clock may go back
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now) | Q(claimed_until__gt=now + 2 * lease)
    has_room = is_old | Q(connections__lte=most_an_hour - connections)
    taken = ProbeSlot.objects.filter(free, has_room, key=key).update(
        claimed_until=now + lease, **_counted(connections, now, is_old)
    )
    return bool(taken)


def count_connections(key: str, connections: int, most_an_hour: int) -> bool:
    """Whether so many more are within the bound; then they count. They need not wait for one another."""
    now = clock.now()
    ProbeSlot.objects.get_or_create(key=key, defaults={"window_at": now})
    is_old = Q(window_at__lte=now - _HOUR) | Q(window_at__gt=now)
    has_room = is_old | Q(connections__lte=most_an_hour - connections)
    return bool(ProbeSlot.objects.filter(has_room, key=key).update(**_counted(connections, now, is_old)))


def give_back(key: str, connections: int) -> None:
    """What was counted, and then not needed."""
    spent = ProbeSlot.objects.filter(key=key, connections__gte=connections)
    spent.update(connections=F("connections") - connections)


def forget_connections(*keys: str) -> None:
    """Whatever was counted."""
    ProbeSlot.objects.filter(key__in=keys, connections__gt=0).update(connections=0)


def deep_key(address: str) -> str:
    """Where the connections of deep looks are counted."""
    return f"deep {address}"


def fetch_key(address: str) -> str:
    """Where connections to policy hosts and report targets are counted."""
    return f"https {address}"


def _counted(connections: int, now: datetime, is_old: Q) -> dict[str, Case]:
    return {
        "connections": Case(When(is_old, then=Value(connections)), default=F("connections") + connections),
        "window_at": Case(When(is_old, then=Value(now)), default=F("window_at")),
    }


@transaction.atomic
def keep(host: str, session: Session, *, was_deep: bool) -> Known:
    """What a look showed. One that showed nothing changes nothing of what was seen before."""
    now = clock.now()
    target, _ = MxTarget.objects.get_or_create(host=host, address=session.address)
    target.looked_at = now
    target.reason = "" if says_something(session) else session.reason[:500] or "it broke off"
    if says_something(session):
        target.observed_at = now
        target.current = _keep_look(target.current, host, session, now)
        if was_deep:
            target.deep_at = now
    target.save()
    release(host, session.address)
    look = target.current
    return Known(
        unpack_session(bytes(look.session)) if look else None,
        look.pk if look else None,
        now,
        target.observed_at,
        target.reason,
        target.deep_at,
    )


def _keep_look(before: MxLook | None, host: str, session: Session, now: datetime) -> MxLook:
    if before is not None:
        MxLook.objects.filter(pk=before.pk).update(last_at=now)
        if bytes(before.digest) == digest_session(session):
            return before
    return MxLook.objects.create(
        host=host,
        address=session.address,
        session=pack_session(session),
        digest=digest_session(session),
        first_at=now,
        last_at=now,
    )


def sweep(keep_until: datetime) -> None:
    """Throw away slots of hours gone by, targets that nobody asks about, and looks that nothing refers to."""
    now = clock.now()
    ProbeSlot.objects.filter(
        Q(claimed_until__isnull=True) | Q(claimed_until__lt=now), window_at__lt=now - _HOUR
    ).delete()
    MxTarget.objects.filter(looked_at__lt=now - _UNUSED_TARGETS).delete()
    loose = MxLook.objects.filter(checks__isnull=True, last_at__lt=min(keep_until, now - timedelta(days=1)))
    current = MxTarget.objects.filter(current__isnull=False).values("current")
    ids = list(loose.exclude(pk__in=current).values_list("pk", flat=True)[:_ROWS_A_TRANSACTION])
    MxLook.objects.filter(pk__in=ids).delete()


def blocked_families() -> dict[int, str]:
    """4 and 6 -> why no MX host was reached from here lately by IPv4 or IPv6, where several were tried in vain."""
    found = {}
    lately = clock.now() - timedelta(days=2)
    for family, is_v6 in ((4, False), (6, True)):
        tried = MxTarget.objects.filter(looked_at__gte=lately, address__contains=":")
        if not is_v6:
            tried = MxTarget.objects.filter(looked_at__gte=lately).exclude(address__contains=":")
        reasons = list(tried.values_list("reason", flat=True)[:_ROWS_A_TRANSACTION])
        if len(reasons) >= 3 and all(reasons):
            found[family] = max(set(reasons), key=reasons.count)
    return found


def set_introduction(trouble: str) -> None:
    """What is wrong with how we introduce ourselves to MX hosts; empty: nothing."""
    before = ServiceState.objects.filter(name=_INTRODUCTION).first()
    if before is None or before.detail != trouble[:500]:
        state = {"ok": not trouble, "detail": trouble[:500], "changed_at": clock.now()}
        ServiceState.objects.update_or_create(name=_INTRODUCTION, defaults=state)


def introduction_trouble() -> str:
    return (
        ServiceState.objects.filter(name=_INTRODUCTION, ok=False).values_list("detail", flat=True).first()
        or ""
    )
