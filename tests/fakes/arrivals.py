"""Reports that arrived: read, routed and stored by the real code; only the judgement is given."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.ingest.accept import Arrival, judge_by_door, read_arrival
from mailward.ingest.addresses import ReportAddress, address_of_domain
from mailward.store.models import Domain, Door, Trust
from mailward.store.services.incoming import Judgement, Stored
from mailward.store.services.reports import store_batch

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
VERIFIED = Judgement(Trust.VERIFIED, "pass", "valid", "google.test")
UNVERIFIED = Judgement(Trust.UNVERIFIED, "absent", "The mail has no signature.")
FAILED = Judgement(Trust.FAILED, "fail", "The body was changed.")


def arrive(
    to: Domain | ReportAddress, judgement: Judgement = VERIFIED, *, at: datetime = NOON, **report: Any
) -> int:
    """The id of the report that came by mail."""
    return arrive_raw(to, google_mail(report_json(**report)), judgement, at=at).report_ids[0]


def post(to: Domain, *, at: datetime = NOON, **report: Any) -> int:
    """The id of the report that came by HTTPS."""
    body = json.dumps(report_json(**report)).encode()
    return arrive_raw(to, body, None, door=Door.HTTPS, at=at).report_ids[0]


def arrive_raw(
    to: Domain | ReportAddress,
    content: bytes,
    judgement: Judgement | None = VERIFIED,
    *,
    door: Door = Door.SMTP,
    at: datetime = NOON,
    name: str = "",
) -> Stored:
    """Whatever the bytes are; without a judgement, that of the door."""
    address = address_of_domain(to) if isinstance(to, Domain) else to
    arrival = Arrival(door, address, content, at, name)
    draft = read_arrival(arrival, DEFAULT_LIMITS)
    (stored,) = store_batch([draft.judged(judgement or judge_by_door(arrival))])
    return stored
