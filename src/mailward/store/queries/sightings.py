"""What was seen of a problem, in the words of whoever said so: a probe of ours, a CA, a name server, reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from mailward.core.explain.following import FOLLOWING
from mailward.core.explain.hosting import CERTIFICATE_ENDED, CERTIFICATE_LAST_DAYS, HOSTING
from mailward.core.explain.rollout import JUMPED
from mailward.core.explain.upkeep import OF_RECORD
from mailward.store.models import CertificateCare, DomainEvent, MxChange, RecordCheck, WatchFinding
from mailward.store.services.history import Kind

_RECORD_OF = {cause: record for record, cause in OF_RECORD.items()}
_MOST_OBSERVED = 3

Domains = QuerySet[Any, Any]
"""Of ids: those where it is not gone, of whoever may see them."""


@dataclass(frozen=True, slots=True)
class Sighting:
    domain: str
    last_at: datetime | None
    evidence: tuple[str, ...]


def sighting_of(cause: str, hosts: Sequence[str], domains: Domains) -> Sighting | None:
    """At the first domain by name where it is seen now; None: at none."""
    if cause in FOLLOWING:
        return _of_held(hosts, domains)
    if cause in HOSTING:
        return _of_certificate(cause, domains)
    if cause in _RECORD_OF:
        return _of_record(_RECORD_OF[cause], domains)
    if cause == JUMPED:
        return _of_jump(domains)
    rows = WatchFinding.objects.filter(domain_id__in=domains, host__in=hosts, code=cause, is_open=True)
    found = rows.select_related("domain").order_by("domain__name").first()
    return Sighting(found.domain.name, found.last_at, tuple(found.evidence)) if found is not None else None


def held_changes(domains: Domains, subjects: Sequence[str]) -> QuerySet[MxChange]:
    """What does not follow the MX records at these domains; each says why."""
    rows = MxChange.objects.filter(domain_id__in=domains, subject__in=subjects, ended_at=None, is_told=True)
    return rows.order_by("domain__name")


def _of_held(hosts: Sequence[str], domains: Domains) -> Sighting | None:
    held = held_changes(domains, hosts).select_related("domain").first()
    return (
        Sighting(held.domain.name, held.held_since or held.noticed_at, (held.detail,))
        if held is not None
        else None
    )


def _of_certificate(cause: str, domains: Domains) -> Sighting | None:
    """The CA's own words, or what we found before asking one; and the end of what is served, where that is the news."""
    rows = CertificateCare.objects.filter(domain_id__in=domains).exclude(detail="")
    care = rows.select_related("domain", "current").order_by("domain__name").first()
    if care is None:
        return None
    end = ""
    if care.current is not None and cause in (CERTIFICATE_LAST_DAYS, CERTIFICATE_ENDED):
        verb = "ended" if cause == CERTIFICATE_ENDED else "ends"
        end = f"the certificate of mta-sts.{care.domain.name} {verb} {care.current.not_after:%Y-%m-%d %H:%M} UTC"
    return Sighting(care.domain.name, care.failed_at, tuple(filter(None, (end, care.detail))))


def _of_record(record: str, domains: Domains) -> Sighting | None:
    rows = RecordCheck.objects.filter(domain_id__in=domains, record=record).exclude(state="right")
    check = rows.select_related("domain").order_by("domain__name").first()
    if check is None:
        return None
    evidence = (check.detail, *map(str, check.observed[:_MOST_OBSERVED]))
    return Sighting(check.domain.name, check.checked_at, evidence)


def _of_jump(domains: Domains) -> Sighting | None:
    rows = DomainEvent.objects.filter(domain_id__in=domains, kind=Kind.ROLLOUT_JUMP)
    event = rows.select_related("domain").order_by("-pk").first()
    return Sighting(event.domain.name, event.at, (event.text,)) if event is not None else None
