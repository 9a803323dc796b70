"""The whole installation in numbers, taken twice a minute for whoever watches it: no tenant's page reads from here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Manager

from mailward.core.acme.state import CareState
from mailward.core.check.codes import Code
from mailward.core.tlsrpt.results import ResultType
from mailward.store.models import (
    CertificateCare,
    DomainImport,
    Leaving,
    MxChange,
    OwnNameCare,
    Problem,
    ProfileChange,
    QuarantinedMessage,
    Watch,
)
from mailward.store.queries import engine, installation
from mailward.store.queries.certificates import counted_orders
from mailward.store.queries.installation import Queue

OVERDUE = timedelta(minutes=10)
"""What is due is done within a minute where there is not too much of it."""
ENDING = timedelta(days=7)
_CAUSES = frozenset((*Code, *ResultType))
_OPEN_IMPORTS = ("looking", "running")
_OPEN_CHANGES = ("preparing", "running", "waiting", "stopped", "undoing")


@dataclass(frozen=True, slots=True)
class Census:
    at: datetime
    queues: list[Queue]
    domains: Mapping[str, int]
    """By the mode of their policy; under "" those without one."""
    unannounced: int
    mx_changes: int
    profile_changes: Mapping[str, int]
    """Open ones, by state."""
    leaving: int
    problems: Mapping[str, int]
    """Open ones by cause; what we have no word for is `other`: a reporter may have made it up."""
    watched: int
    overdue: int
    imports: Mapping[str, int]
    mails: int
    quarantined: int
    certificates: Mapping[str, int]
    """By state; a newer node may have written one that this version does not know."""
    next_end: datetime | None
    ending: int
    ordered: Mapping[str, int]
    """Directory of a CA -> orders in its window."""
    relay_ok: bool | None
    """None: not known yet."""
    migrations_missing: int
    database_bytes: int


def take_census(now: datetime) -> Census:
    """Some twenty queries; a tenth of a second with ten thousand domains."""
    end = installation.next_certificate()
    relay = installation.service_state("relay")
    states = Watch.objects.order_by()
    return Census(
        at=now,
        queues=installation.queues(now),
        domains=installation.domain_modes(),
        unannounced=installation.unannounced(now)[0],
        mx_changes=MxChange.objects.filter(ended_at=None).count(),
        profile_changes=_by_state(ProfileChange.objects, _OPEN_CHANGES),
        leaving=Leaving.objects.filter(ended_at=None).count(),
        problems=_problems(),
        watched=states.count(),
        overdue=states.filter(due_at__lt=now - OVERDUE).count(),
        imports=_by_state(DomainImport.objects, _OPEN_IMPORTS),
        mails=installation.unsent_mails(now)[0],
        quarantined=QuarantinedMessage.objects.count(),
        certificates=_certificates(),
        next_end=end.at if end else None,
        ending=installation.certificates_ending(now + ENDING),
        ordered=_ordered(now),
        relay_ok=relay.ok if relay else None,
        migrations_missing=len(engine.schema().missing),
        database_bytes=_database_bytes(),
    )


def _problems() -> Counter[str]:
    found: Counter[str] = Counter()
    rows = Problem.objects.filter(closed_at=None).order_by().values_list("code", "result_type")
    for code, result_type, count in rows.annotate(Count("id")):
        cause = code or result_type
        found[cause if cause in _CAUSES else "other"] += count
    return found


def _by_state(
    rows: Manager[ProfileChange] | Manager[DomainImport], states: tuple[str, ...]
) -> dict[str, int]:
    found = rows.filter(state__in=states).order_by().values_list("state")
    return dict.fromkeys(states, 0) | dict(found.annotate(Count("pk")))


def _certificates() -> dict[str, int]:
    found: dict[str, int] = {state.value: 0 for state in CareState}
    for care in (CertificateCare.objects, OwnNameCare.objects):
        for state, count in care.order_by().values_list("state").annotate(Count("pk")):
            found[state] = found.get(state, 0) + count
    return found


def _ordered(now: datetime) -> dict[str, int]:
    rows = counted_orders(now).order_by()
    return dict(rows.values_list("account__directory").annotate(Count("id")))


def _database_bytes() -> int:
    return engine.postgresql().bytes if engine.is_postgresql() else engine.sqlite(checked=False).bytes
