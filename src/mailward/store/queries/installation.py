"""The whole installation in figures, for whoever runs it: no tenant's page reads from here."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Min, Q, QuerySet

from mailward.core.acme.state import CareState
from mailward.core.mtasts.follow import Follow
from mailward.store.ids import first_id_at
from mailward.store.models import (
    CertificateCare,
    Domain,
    DomainImport,
    ImportState,
    MxFollow,
    MxTarget,
    Notice,
    Notification,
    OutboxItem,
    OwnNameCare,
    Problem,
    Report,
    ServiceState,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """Work of one kind."""

    kind: str
    waiting: int
    """Due or not."""
    due: int
    due_since: datetime | None
    """Of that which has been due for the longest, nobody being at it."""
    failing: int
    """Tried and failed at least three times in a row."""
    last_error: str
    """Of one of those."""


_FAILING_ATTEMPTS = 3


def queues(now: datetime) -> list[Queue]:
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    due = Q(available_at__lte=now) & free
    rows = (
        OutboxItem.objects.values("kind")
        .annotate(
            waiting=Count("id"),
            ready=Count("id", filter=due),
            oldest=Min("available_at", filter=due),
            failing=Count("id", filter=Q(attempts__gte=_FAILING_ATTEMPTS) & ~Q(last_error="")),
        )
        .order_by("kind")
    )
    return [
        Queue(
            row["kind"], row["waiting"], row["ready"], row["oldest"], row["failing"], _error_of(row["kind"])
        )
        for row in rows
    ]


def _error_of(kind: str) -> str:
    rows = OutboxItem.objects.filter(kind=kind, attempts__gte=_FAILING_ATTEMPTS).exclude(last_error="")
    return rows.order_by("-attempts").values_list("last_error", flat=True).first() or ""


def domain_modes() -> dict[str, int]:
    """How many domains serve a policy of each mode; under "" those that serve none."""
    rows = Domain.objects.order_by().values_list("current_version__mode").annotate(Count("id"))
    return {mode or "": count for mode, count in rows}


def unannounced(before: datetime) -> tuple[int, str]:
    """Domains whose policy was published before then and whose id our nameserver does not tell yet, and one of them."""
    rows = Domain.objects.filter(current_version__created_at__lt=before, claim_verified_at__isnull=False)
    late = rows.exclude(announced_version=F("current_version"))
    return late.count(), late.order_by("name").values_list("name", flat=True).first() or ""


@dataclass(frozen=True, slots=True)
class Reports:
    day: int
    """Of the last 24 hours."""
    last_at: datetime | None


def reports(now: datetime) -> Reports:
    last = Report.objects.order_by("-id").values_list("received_at", flat=True).first()
    return Reports(Report.objects.filter(id__gte=first_id_at(now - timedelta(days=1))).count(), last)


@dataclass(frozen=True, slots=True)
class Ending:
    host: str
    at: datetime


def _renewed() -> tuple[QuerySet[CertificateCare], QuerySet[OwnNameCare]]:
    """Those that we renew. A domain that went elsewhere, left MTA-STS, or that nobody proves any more, has one that
    runs out: that is told by its state, and is no failure of ours. A name of our own has to come back.
    """
    let_go = (CareState.GONE, CareState.CLAIM, CareState.REACH)
    return CertificateCare.objects.exclude(state__in=let_go), OwnNameCare.objects.all()


def next_certificate() -> Ending | None:
    """Of those in use, the one that ends first."""
    found = []
    for care in _renewed():
        row = (
            care.filter(current__isnull=False)
            .order_by("current__not_after")
            .values_list("current__host", "current__not_after")
            .first()
        )
        if row is not None:
            found.append(Ending(*row))
    return min(found, key=lambda ending: ending.at, default=None)


def certificates_ending(before: datetime) -> int:
    """In use, and not renewed."""
    return sum(care.filter(current__not_after__lt=before).count() for care in _renewed())


def open_problems() -> int:
    return Problem.objects.filter(closed_at=None).count()


def imports_since(before: datetime) -> int:
    """Lists of domains that have been under way since before then."""
    states = (ImportState.LOOKING, ImportState.RUNNING)
    return DomainImport.objects.filter(state__in=states, created_at__lt=before).count()


def unsent_mails(before: datetime) -> tuple[int, str]:
    """Mails that wait since before then, and why one of them does."""
    count, why = 0, ""
    for rows in (Notification.objects, Notice.objects):
        waiting = rows.filter(sent_at=None, queued_at__lt=before)
        count += waiting.values("message_id").distinct().count()
        why = why or waiting.exclude(error="").values_list("error", flat=True).first() or ""
    return count, why


def smtp_looks(since: datetime) -> tuple[int, int]:
    """Addresses of MX hosts that were looked at since then, and those of them that said something."""
    looked = MxTarget.objects.filter(looked_at__gte=since)
    return looked.count(), looked.filter(observed_at__gte=since).count()


def following_domains() -> int:
    """Domains whose policy follows their MX records by itself."""
    return MxFollow.objects.exclude(mode=Follow.OFF).count()


def service_state(name: str) -> ServiceState | None:
    return ServiceState.objects.filter(name=name).first()


def wrong_clocks(prefix: str) -> list[tuple[str, str]]:
    """Machines and what is wrong with their clocks."""
    rows = ServiceState.objects.filter(name__startswith=prefix, ok=False).order_by("name")
    return [(name.removeprefix(prefix), detail) for name, detail in rows.values_list("name", "detail")]


def has_domains(modes: Collection[str]) -> bool:
    return Domain.objects.filter(current_version__mode__in=modes).exists()
