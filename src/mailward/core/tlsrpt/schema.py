"""The TLS report, as values (RFC 8460 section 4.4).

One set of types serves the wire and the program: the JSON names are the field names with hyphens. What a sender
left out or wrote unusably is None, never 0 or "": "no data" is not "no failure". All text is kept as it came
except where a field says otherwise.
"""

from datetime import date, datetime
from enum import StrEnum

import msgspec


class PolicyType(StrEnum):
    """RFC 8460 section 4.4 `policy-type`. Readers keep unknown values as text."""

    TLSA = "tlsa"
    STS = "sts"
    NO_POLICY_FOUND = "no-policy-found"


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab", gc=False):
    pass


class DateRange(_Wire):
    start_datetime: datetime | None = None
    """UTC, aware."""
    end_datetime: datetime | None = None


class Policy(_Wire):
    policy_type: str | None = None
    """Lower case; a PolicyType value or what the sender made up."""
    policy_string: tuple[str, ...] = ()
    """One policy line or one TLSA RDATA each."""
    policy_domain: str | None = None
    """A-label, lower case, no trailing dot. For `tlsa` it is the TLSA base domain: an MX host."""
    mx_host: tuple[str, ...] = ()
    """MX patterns of an `sts` policy, as sent."""


class Summary(_Wire):
    total_successful_session_count: int | None = None
    total_failure_session_count: int | None = None


class FailureDetail(_Wire):
    result_type: str | None = None
    """Lower case; a ResultType value or what the sender made up."""
    sending_mta_ip: str | None = None
    """RFC 5952 text, or None."""
    receiving_mx_hostname: str | None = None
    """Lower case, no trailing dot."""
    receiving_mx_helo: str | None = None
    receiving_ip: str | None = None
    """RFC 5952 text, or None."""
    failed_session_count: int | None = None
    additional_information: str | None = None
    failure_reason_code: str | None = None


class PolicyResult(_Wire):
    """What was seen under one policy: one entry of `policies`."""

    policy: Policy = Policy()
    summary: Summary = Summary()
    failure_details: tuple[FailureDetail, ...] = ()


class Report(_Wire):
    """One aggregate report: what one sending organisation saw, usually over one UTC day."""

    organization_name: str | None = None
    date_range: DateRange = DateRange()
    contact_info: str | None = None
    report_id: str | None = None
    policies: tuple[PolicyResult, ...] = ()

    @property
    def day_utc(self) -> date | None:
        """The day that counts are booked on: the UTC day of the start."""
        start = self.date_range.start_datetime
        return start.date() if start else None
