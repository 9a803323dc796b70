"""A report that is there already, judged again: its signature could not be checked when it came."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import transaction

from mailward.core.tlsrpt.routing import Address, route
from mailward.core.tlsrpt.schema import Report as WireReport
from mailward.store.models import Report, Trust
from mailward.store.services.counting import DailyCounts, is_countable
from mailward.store.services.incoming import (
    COUNTED_TRUST,
    Judgement,
    OwnedShare,
    ShareDigest,
    clean,
    digest_report,
)
from mailward.store.services.reports import put_work


@dataclass(frozen=True, slots=True)
class PendingReport:
    """A report that waits for DNS, with what its judgement rests on."""

    id: int
    content: bytes
    received_at: datetime


def find_pending(report_id: int) -> PendingReport | None:
    """None where it is gone, or waits no longer."""
    report = Report.objects.filter(pk=report_id, trust=Trust.PENDING).select_related("raw").first()
    if report is None:
        return None
    return PendingReport(report.pk, bytes(report.raw.content), report.received_at)


@transaction.atomic
def settle_pending(report_id: int, judgement: Judgement) -> bool:
    """Give a pending report its verdict, and count it where that says so. False: it waited no longer."""
    report = Report.objects.select_for_update().filter(pk=report_id, trust=Trust.PENDING).first()
    if report is None:
        return False
    reporter = clean(judgement.signer.lower(), 253) or report.reporter
    day = report.day or report.received_at.date()
    counted = (
        judgement.trust in COUNTED_TRUST
        and report.domain_id is not None
        and is_countable(day, report.received_at)
    )
    # conditional, since a better copy may come through a door at the same time
    changed = Report.objects.filter(pk=report_id, trust=Trust.PENDING).update(
        trust=judgement.trust,
        dkim=clean(judgement.dkim, 12),
        dkim_detail=clean(judgement.detail, 500),
        signer=clean(judgement.signer, 253),
        reporter=reporter,
        counted=counted,
    )
    if not changed:
        return False
    if counted:
        counts = DailyCounts()
        for share in _shares(report):
            counts.add(report.organisation_id, share, day, reporter)
        counts.write()
        put_work(counts, ())
    return True


def _shares(report: Report) -> tuple[ShareDigest, ...]:
    """The report's own share, routed as when it came."""
    wire = msgspec.json.decode(bytes(report.parsed), type=WireReport)
    domain, address_domain = report.domain, report.address_domain
    if domain is None:
        return ()
    # the organisation's address: its other domains have rows of their own
    address = Address({domain.name}, address_domain.name if address_domain else None)
    owned = [
        OwnedShare(domain.pk, domain.name, share.policies)
        for share in route(wire, address, report.tls_report_domain or None)
        if share.domain == domain.name
    ]
    return digest_report(wire, b"", b"", b"", owned).shares
