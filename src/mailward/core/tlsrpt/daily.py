"""What was counted for a domain on a UTC day, as the report that is sent about it (RFC 8460 sections 4.1 to 4.4).

Made again from the same counts by the same reporter (its instance included), a report has the same id and the same
bytes.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from mailward.core.tlsrpt.counting import DomainDay
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import DateRange, FailureDetail, PolicyResult, PolicyType, Report

MAX_DETAILS = 2_000
"""Of one policy; the rarest beyond it are put together by result type."""
_MAX_TEXT = 255
_MAX_STRING = 8_192
_MAX_STRINGS = 200
_NO_REASON = "no-reason-given"
_PUT_TOGETHER = "details-put-together"
"""The failure-reason-code of an entry that stands for several kinds of failure."""
_DAY = timedelta(days=1)
_LAST_SECOND = timedelta(seconds=1)
_RESULT_TYPES = frozenset(str(each) for each in ResultType)
_POLICY_TYPES = frozenset(str(each) for each in PolicyType)
# RFC 8460 §4.3: these two say little, and want a reason beside them
_VAGUE = (ResultType.CERTIFICATE_NOT_TRUSTED, ResultType.VALIDATION_FAILURE)
_WEB_URI = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports."""

    organization_name: str
    contact: str
    """A mail address; its domain is the submitter (RFC 8460 section 5.3)."""
    instance: str = ""
    """Which of the machines that report under this contact: each has counted for itself."""

    @property
    def submitter(self) -> str:
        return self.contact.rpartition("@")[2].lower()


def make_report_id(day: date, domain: str, reporter: Reporter, part: int = 0) -> str:
    """Derived from what the report is about and whose counts it has, so that a report that is made again is known to be
    the same; a supplement has its own.
    """
    # RFC 8460 §5.3: receivers may drop what has the id of another report of the same submitter as a duplicate
    about = (day.isoformat(), domain, reporter.submitter, reporter.instance)
    digest = hashlib.sha256("\0".join(about).encode()).hexdigest()
    return f"{day.isoformat()}.{digest[:24]}" + (f".{part}" if part else "")


def day_range(day: date) -> DateRange:
    """The full UTC day, its last second included, as in the example of RFC 8460 section 4.4."""
    start = datetime.combine(day, time(), UTC)
    return DateRange(start_datetime=start, end_datetime=start + _DAY - _LAST_SECOND)


def make_report(counted: DomainDay, reporter: Reporter) -> Report | None:
    """None where nothing is left, as when all that was counted was taken back."""
    results = tuple(_result(each) for each in counted.results if _has_content(each))
    if not results:
        return None
    return Report(
        organization_name=reporter.organization_name,
        date_range=day_range(counted.day_utc),
        contact_info=reporter.contact,
        report_id=make_report_id(counted.day_utc, counted.domain, reporter, counted.part),
        policies=results,
    )


def cut_details(report: Report, at_most: int) -> tuple[Report, int]:
    """The report with so many details a policy, and in how many failed sessions others were put together."""
    cut = 0
    results = []
    for result in report.policies:
        kept, sessions = _put_together(result.failure_details, at_most)
        cut += sessions
        results.append(msgspec.structs.replace(result, failure_details=kept))
    return msgspec.structs.replace(report, policies=tuple(results)), cut


def count_sessions(report: Report) -> tuple[int, int]:
    """Successful and failed sessions. For lists only: what is counted under two policies may be the same session."""
    summaries = [result.summary for result in report.policies]
    return (
        sum(each.total_successful_session_count or 0 for each in summaries),
        sum(each.total_failure_session_count or 0 for each in summaries),
    )


def _has_content(result: PolicyResult) -> bool:
    """Sessions, or failures that no session had to meet: RFC 8461 section 6 has a policy fetch that failed reported."""
    summary = result.summary
    has_sessions = summary.total_successful_session_count or summary.total_failure_session_count
    return bool(has_sessions or result.failure_details)


def _result(result: PolicyResult) -> PolicyResult:
    policy = result.policy
    kind = policy.policy_type if policy.policy_type in _POLICY_TYPES else PolicyType.NO_POLICY_FOUND
    with_content = kind != PolicyType.NO_POLICY_FOUND
    # §4.4: "including errors"; a TLSA record may hold a whole certificate
    strings = tuple(_clean(line, _MAX_STRING) for line in policy.policy_string[:_MAX_STRINGS])
    patterns = tuple(_clean(each) for each in policy.mx_host[:_MAX_STRINGS]) if with_content else ()
    return msgspec.structs.replace(
        result,
        policy=msgspec.structs.replace(
            policy,
            policy_type=str(kind),
            policy_string=strings if with_content else (),
            mx_host=patterns,
        ),
        failure_details=tuple(_detail(each) for each in result.failure_details),
    )


def _detail(detail: FailureDetail) -> FailureDetail:
    kind, reason = detail.result_type or "", _clean(detail.failure_reason_code or "")
    if kind not in _RESULT_TYPES:  # RFC 8460 §4.3.3: what fits nowhere else
        kind, reason = ResultType.VALIDATION_FAILURE, reason or _clean(kind)
    link = detail.additional_information
    if link is not None and not _WEB_URI.fullmatch(link[:2000]):  # §4.4: a URI
        reason, link = reason or _clean(link), None
    if not reason and kind in _VAGUE:
        reason = _NO_REASON
    host, helo = detail.receiving_mx_hostname, detail.receiving_mx_helo
    return msgspec.structs.replace(
        detail,
        result_type=str(kind),
        failure_reason_code=reason or None,
        additional_information=link,
        receiving_mx_hostname=_clean(host) if host else None,
        receiving_mx_helo=_clean(helo) if helo else None,
    )


def _put_together(details: Sequence[FailureDetail], at_most: int) -> tuple[tuple[FailureDetail, ...], int]:
    """The most frequent ones; the others as one a result type. `details` come most frequent first."""
    if len(details) <= at_most:
        return tuple(details), 0
    sums: dict[str, int] = {}
    for detail in details[at_most:]:
        kind = detail.result_type or ResultType.VALIDATION_FAILURE
        sums[kind] = sums.get(kind, 0) + (detail.failed_session_count or 0)
    rest = [
        FailureDetail(result_type=kind, failed_session_count=count, failure_reason_code=_PUT_TOGETHER)
        for kind, count in sums.items()
    ]
    return (*details[:at_most], *rest), sum(sums.values())


def _clean(text: str, at_most: int = _MAX_TEXT) -> str:
    """One line of what a stranger said: no control or direction characters, bounded."""
    if text.isprintable():
        return text[:at_most]
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * at_most]).split())[:at_most]
