"""A report that is there already, judged again: its signature could not be checked when it came."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from mailward.store.models import Report, Trust
from mailward.store.services.booked import booked_shares
from mailward.store.services.counting import DailyCounts, is_countable
from mailward.store.services.incoming import COUNTED_TRUST, Judgement, clean
from mailward.store.services.reports import put_work
from mailward.store.services.whose import is_open, is_own, mx_of, say_detail


@dataclass(frozen=True, slots=True)
class PendingReport:
    """A report that waits for DNS, with what its judgement rests on."""

    id: int
    content: bytes
    received_at: datetime
    address_token: str
    """Local part of the address that it came to."""


def find_pending(report_id: int) -> PendingReport | None:
    """None where it is gone, or waits no longer."""
    pending = Report.objects.filter(pk=report_id, trust=Trust.PENDING)
    report = pending.select_related("raw", "address_domain", "organisation").first()
    if report is None:
        return None
    token = (report.address_domain or report.organisation).report_token
    return PendingReport(report.pk, bytes(report.raw.content), report.received_at, token)


@transaction.atomic
def settle_pending(report_id: int, judgement: Judgement) -> bool:
    """Give a pending report its verdict, and count it where that says so. False: it waited no longer."""
    report = Report.objects.select_for_update().filter(pk=report_id, trust=Trust.PENDING).first()
    if report is None:
        return False
    reporter = clean(judgement.signer.lower(), 253) or report.reporter
    day = report.day or report.received_at.date()
    shares = booked_shares(report) if judgement.trust in COUNTED_TRUST else ()
    open_ = [share for share in shares if is_open(judgement, share)]
    mx = mx_of(share.domain_id for share in open_ if share.domain_id is not None)
    doubtful = not all(is_own(share, mx) for share in open_)
    counted = bool(shares) and not doubtful and is_countable(day, report.received_at)
    # conditional, since a better copy may come through a door at the same time
    changed = Report.objects.filter(pk=report_id, trust=Trust.PENDING).update(
        trust=judgement.trust,
        dkim=clean(judgement.dkim, 12),
        dkim_detail=say_detail(judgement.detail, doubtful=doubtful),
        signer=clean(judgement.signer, 253),
        reporter=reporter,
        counted=counted,
    )
    if not changed:
        return False
    if counted:
        counts = DailyCounts()
        for share in shares:
            counts.add(report.organisation_id, share, day, reporter)
        counts.write()
        put_work(counts, ())
    return True
