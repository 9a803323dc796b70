"""Certificates as they are served and shown."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from mailward.core.acme.lane import WINDOW, last_order_at
from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    Certificate,
    CertificateCare,
    CertificateSequence,
    OwnNameCare,
)
from mailward.store.scope import Scope


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate as a node keeps it."""

    host: str
    sequence: int
    chain: str
    sealed_key: bytes


def certificate_sequence() -> int:
    """Changes with every certificate that is issued."""
    return CertificateSequence.objects.filter(pk=1).values_list("value", flat=True).first() or 0


def certificates_after(sequence: int, limit: int) -> list[Served]:
    """Those that came after it, in order: the last of a host is the one to serve."""
    rows = Certificate.objects.filter(sequence__gt=sequence).order_by("sequence")[:limit]
    return [Served(row.host, row.sequence, row.chain, bytes(row.key)) for row in rows]


def served_sequences() -> dict[str, int]:
    """Host -> the sequence of its newest certificate."""
    rows = Certificate.objects.order_by("sequence").values_list("host", "sequence")
    return dict(rows.iterator(chunk_size=5_000))


def own_certificates_after(sequence: int, limit: int) -> list[Served]:
    """As `certificates_after`, for the installation's own names."""
    rows = Certificate.objects.filter(domain=None, sequence__gt=sequence).order_by("sequence")[:limit]
    return [Served(row.host, row.sequence, row.chain, bytes(row.key)) for row in rows]


def own_sequences() -> dict[str, int]:
    """As `served_sequences`, for the installation's own names."""
    return dict(Certificate.objects.filter(domain=None).order_by("sequence").values_list("host", "sequence"))


_WORTH_TELLING = (
    CareState.REACH, CareState.AWAY, CareState.FAILING, CareState.FORBIDDEN, CareState.GONE
)  # fmt: skip


def own_name_trouble(names: Sequence[str]) -> tuple[str, str]:
    """The first of these own names whose certificate somebody has to look after, and why; empty: none."""
    rows = OwnNameCare.objects.filter(host__in=names, state__in=_WORTH_TELLING).exclude(detail="")
    rows = rows.order_by("host")
    return rows.values_list("host", "detail").first() or ("", "")


def key_authorization_of(token: str, host: str) -> str | None:
    """What is answered to a CA that asks for this token at this name, while the order is open."""
    return (
        AcmeOrder.objects.filter(token=token, host=host, ended_at=None, method="http-01")
        .values_list("key_authorization", flat=True)
        .first()
    )


def care_of(scope: Scope, domain_id: int) -> CertificateCare | None:
    """How the domain's certificate stands, with the certificate; None: nobody has looked yet."""
    return scope.certificate_cares().select_related("current").filter(domain_id=domain_id).first()


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA, for whoever runs the installation."""

    directory: str
    is_registered: bool
    certificates: int
    """That are in use."""
    orders: int
    """Of the last three hours, without renewals by ARI."""
    limit: int
    blocked_until: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class OwnName:
    """A name of the installation's own."""

    host: str
    state: CareState
    detail: str
    not_after: datetime | None
    """Of the certificate that is there; None: there is none."""


@dataclass(frozen=True, slots=True)
class Overview:
    authorities: tuple[Authority, ...]
    states: dict[CareState, int]
    last_order_at: datetime | None
    """When the last of those that wait for a place is ordered; None: nobody waits."""
    troubled: tuple[tuple[str, CareState, str], ...]
    """Domain, state and what is told about it; the first of them."""
    own: tuple[OwnName, ...]


def queue_end(limits: Sequence[tuple[str, int]]) -> datetime | None:
    """When the last of those that wait for a place at a CA is ordered, whoever's it is; None: nobody waits.
    `limits`: as for `overview`.
    """
    now, queued = clock.now(), count_in({CareState.QUEUED})
    if not queued:
        return None
    blocked = dict(AcmeAccount.objects.values_list("directory", "blocked_until"))
    lasts = []
    for directory, limit in limits:
        last = last_order_at(_placed(directory, now), queued, limit, now)
        lasts.append(max(last, blocked.get(directory) or last))
    # the queue goes to whichever CA is free first
    return min(lasts, default=None)


def count_in(states: Collection[CareState]) -> int:
    """How many certificates stand so, those of our own names among them."""
    return sum(each.objects.filter(state__in=states).count() for each in (CertificateCare, OwnNameCare))


def counted_orders(now: datetime) -> QuerySet[AcmeOrder]:
    """Those of the last WINDOW that took a place at their CA. Renewals by ARI take none: Let's Encrypt exempts them
    from all its limits, and who offers ARI may want thousands renewed at once (RFC 9773 section 1).
    """
    return AcmeOrder.objects.filter(placed_at__gt=now - WINDOW, replaces="")


def _placed(directory: str, now: datetime) -> list[datetime]:
    orders = counted_orders(now).filter(account__directory=directory)
    return list(orders.values_list("placed_at", flat=True))


_MAX_TROUBLED = 50
_TROUBLED = (CareState.FAILING, CareState.FORBIDDEN, CareState.GONE)


def overview(limits: Sequence[tuple[str, int]]) -> Overview:
    """Of the whole installation. `limits`: the CAs of the settings, and how many orders in three hours each takes."""
    now = clock.now()
    accounts = {each.directory: each for each in AcmeAccount.objects.all()}
    in_use = Counter(
        CertificateCare.objects.filter(current__isnull=False).values_list("current__directory", flat=True)
    )
    own = tuple(
        OwnName(
            care.host, CareState(care.state), care.detail, care.current.not_after if care.current else None
        )
        for care in OwnNameCare.objects.select_related("current").order_by("host")
    )
    in_use.update(
        OwnNameCare.objects.filter(current__isnull=False).values_list("current__directory", flat=True)
    )
    states = Counter(
        CareState(state) for state in CertificateCare.objects.values_list("state", flat=True).iterator()
    )
    authorities = []
    for directory, limit in limits:
        account = accounts.get(directory)
        blocked = account.blocked_until if account is not None else None
        authorities.append(
            Authority(
                directory,
                account is not None and bool(account.url),
                in_use[directory],
                len(_placed(directory, now)),
                limit,
                blocked if blocked is not None and blocked > now else None,
                account.last_error if account is not None else "",
            )
        )
    rows = CertificateCare.objects.filter(state__in=_TROUBLED).order_by("failed_at")
    troubled = rows.values_list("domain__name", "state", "detail")[:_MAX_TROUBLED]
    return Overview(
        tuple(authorities),
        dict(states),
        queue_end(limits),
        tuple((name, CareState(state), detail) for name, state, detail in troubled),
        own,
    )
