"""The TLS report, as values (RFC 8460 section 4.4).

One set of types serves the wire and the program: the JSON names are the field names with hyphens. What a
sender left out or wrote unusably is None, never 0 or "": "no data" is not "no failure". All text is kept as
it came except where a field says otherwise.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

MAX_COUNT = 2**53 - 1
"""RFC 7493 section 2.2: what every JSON reader takes as an exact integer."""
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class PolicyType(StrEnum):
    """RFC 8460 section 4.4 `policy-type`. Readers keep unknown values as text."""

    TLSA = "tlsa"
    STS = "sts"
    NO_POLICY_FOUND = "no-policy-found"


class _Wire(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,  # another key than these is for the lenient reader to note
    rename="kebab",
    gc=False,  # trees of atoms: no cycles, and the collector need not walk 20,000 details
):
    pass


class DateRange(_Wire, frozen=True):
    start_datetime: datetime | None = None
    """UTC, aware."""
    end_datetime: datetime | None = None


UNKNOWN_RANGE = DateRange()
"""The very object that is left out when written: msgspec tells a default from its equal by identity."""


class Policy(_Wire, frozen=True):
    policy_type: str | None = None
    """Lower case; a PolicyType value or what the sender made up."""
    policy_string: tuple[str, ...] = ()
    """One policy line or one TLSA RDATA each."""
    policy_domain: str | None = None
    """A-label, lower case, no trailing dot. For `tlsa` it is the TLSA base domain: an MX host."""
    mx_host: tuple[str, ...] = ()
    """MX patterns of an `sts` policy, as sent."""


class Summary(_Wire, frozen=True):
    total_successful_session_count: Count | None = None
    total_failure_session_count: Count | None = None


class FailureDetail(_Wire, frozen=True):
    result_type: str | None = None
    """Lower case; a ResultType value or what the sender made up."""
    sending_mta_ip: str | None = None
    """RFC 5952 text, or None."""
    receiving_mx_hostname: str | None = None
    """Lower case, no trailing dot."""
    receiving_mx_helo: str | None = None
    receiving_ip: str | None = None
    """RFC 5952 text, or None."""
    failed_session_count: Count | None = None
    additional_information: str | None = None
    failure_reason_code: str | None = None


class PolicyResult(_Wire, frozen=True):
    """What was seen under one policy: one entry of `policies`."""

    policy: Policy = Policy()
    summary: Summary = Summary()
    failure_details: tuple[FailureDetail, ...] = ()


class Report(_Wire, frozen=True):
    """One aggregate report: what one sending organisation saw, usually over one UTC day."""

    organization_name: str | None = None
    date_range: DateRange = UNKNOWN_RANGE
    contact_info: str | None = None
    report_id: str | None = None
    policies: tuple[PolicyResult, ...] = ()

    @property
    def day_utc(self) -> date | None:
        """The day that counts are booked on: the UTC day of the start."""
        start = self.date_range.start_datetime
        return start.date() if start else None
