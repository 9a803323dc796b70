"""What can be seen from a report's values, however they were read: what is missing, and what does not fit.

One function for every way of reading: the quick reader and the lenient one cannot disagree here.
"""

import re
from datetime import datetime, timedelta

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import (
    DateRange,
    FailureDetail,
    Policy,
    PolicyResult,
    PolicyType,
    Report,
)

_RESULT_TYPES = frozenset(str(each) for each in ResultType)
_POLICY_TYPES = frozenset(str(each) for each in PolicyType)
_DAY = timedelta(days=1)
_LAST_SECOND = timedelta(seconds=1)

# ASCII and C1 controls, and the characters that turn the direction of text around
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# RFC 3986 appendix A, loosely: a scheme, and only characters that a URI has
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII
)
_WEB_URI = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]*+", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)


def judge_report(report: Report, notes: Notes, *, now: datetime | None = None, prefix: str = "") -> None:
    """Adds to `notes`; places begin with `prefix`."""
    name, report_id = report.organization_name, report.report_id
    if not name:
        notes.miss("missing-organization-name", prefix + "organization-name")
    elif not name.isprintable():
        _judge_controls(name, prefix + "organization-name", notes)
    if not report.contact_info:
        notes.miss("missing-contact-info", prefix + "contact-info")
    if not report_id:
        notes.miss("missing-report-id", prefix + "report-id")
    elif not report_id.isprintable():
        _judge_controls(report_id, prefix + "report-id", notes)
    _judge_range(report.date_range, notes, now, prefix)
    for at, result in enumerate(report.policies):
        if not _is_ordinary(result.policy):
            _judge_policy(result.policy, f"{prefix}policies[{at}].policy", notes)
        _judge_result(result, prefix, at, notes)


def _is_ordinary(policy: Policy) -> bool:
    """Whether there is nothing to note. Most are ordinary, and telling takes less time than judging."""
    kind, strings, patterns = policy.policy_type, policy.policy_string, policy.mx_host
    if kind == "sts":
        fits = bool(strings and patterns)
    elif kind == "tlsa":
        fits = bool(strings) and "[" not in "".join(strings)
    else:
        fits = kind == "no-policy-found" and not strings and not patterns
    if not fits or policy.policy_domain is None:
        return False
    names = policy.policy_domain + "".join(patterns)
    return names.isascii() and names.isprintable() and ":" not in names


def _judge_range(period: DateRange, notes: Notes, now: datetime | None, prefix: str) -> None:
    start, end = period.start_datetime, period.end_datetime
    if start is None:
        notes.miss("missing-date-range", prefix + "date-range.start-datetime")
    if end is None:
        notes.miss("missing-date-range", prefix + "date-range.end-datetime")
    if start is None:
        return
    if now is not None and start > now:
        notes.add("range-in-future", prefix + "date-range.start-datetime", start.isoformat())
    if end is None:
        return
    if end < start:
        notes.add("range-inverted", prefix + "date-range", f"{start.isoformat()}/{end.isoformat()}")
    # RFC 8460 §4.1: a full day; some end it a second before midnight, some at midnight
    elif not _DAY - _LAST_SECOND <= end - start <= _DAY:
        notes.add("range-not-one-day", prefix + "date-range", f"{start.isoformat()}/{end.isoformat()}")


def _judge_policy(policy: Policy, where: str, notes: Notes) -> None:
    kind, domain = policy.policy_type, policy.policy_domain
    if kind is None:
        notes.miss("missing-policy-type", f"{where}.policy-type")
    elif kind not in _POLICY_TYPES:
        notes.add("unknown-policy-type", f"{where}.policy-type", kind)
    if domain is None:
        notes.miss("missing-policy-domain", f"{where}.policy-domain")
    elif not domain.isprintable():
        _judge_controls(domain, f"{where}.policy-domain", notes)
    _judge_content(policy, where, notes)
    for at, pattern in enumerate(policy.mx_host):
        _judge_pattern(pattern, f"{where}.mx-host[{at}]", notes)


def _judge_content(policy: Policy, where: str, notes: Notes) -> None:
    kind = policy.policy_type
    if kind == "no-policy-found":
        if policy.policy_string:
            notes.add("unexpected-policy-string", f"{where}.policy-string", policy.policy_string[0])
        if policy.mx_host:
            notes.add("unexpected-policy-string", f"{where}.mx-host", policy.mx_host[0])
    elif not policy.policy_string and kind in _POLICY_TYPES:
        notes.miss("missing-policy-string", f"{where}.policy-string")
    if kind == "sts" and not policy.mx_host:
        notes.miss("missing-mx-host", f"{where}.mx-host")
    elif kind == "tlsa":
        for at, record in enumerate(policy.policy_string):
            if record.lstrip().startswith("["):
                notes.add("tlsa-json-in-string", f"{where}.policy-string[{at}]", record)


def _judge_pattern(pattern: str, where: str, notes: Notes) -> None:
    if pattern[:3].lower() == "mx:":
        notes.add("mx-host-prefix", where, pattern)
    if not pattern.isascii():
        # RFC 8460 §4.4: A-labels here too
        notes.add("domain-ulabel", where, pattern)
    if not pattern.isprintable():
        _judge_controls(pattern, where, notes)


def _judge_result(result: PolicyResult, prefix: str, policy_at: int, notes: Notes) -> None:
    ok = result.summary.total_successful_session_count
    failed = result.summary.total_failure_session_count
    if ok is None or failed is None:
        _judge_missing_counts(ok, failed, f"{prefix}policies[{policy_at}].summary", notes)
    total = 0
    for at, detail in enumerate(result.failure_details):
        host, helo, count = (
            detail.receiving_mx_hostname,
            detail.receiving_mx_helo,
            detail.failed_session_count,
        )
        total += count or 0
        if (
            count is None
            or host is None
            or detail.result_type not in _RESULT_TYPES
            or detail.sending_mta_ip is None
            or (detail.additional_information and not _WEB_URI.fullmatch(detail.additional_information))
            or not host.isprintable()
            or not (helo is None or helo.isprintable())
        ):  # otherwise there is nothing to note, and making up the place would take half of the time
            _judge_detail(detail, f"{prefix}policies[{policy_at}].failure-details[{at}]", notes)
    if failed is None or total == failed:
        return
    where = f"{prefix}policies[{policy_at}].failure-details"
    if not result.failure_details:
        notes.add("failed-without-details", where, str(failed))
    elif all(detail.failed_session_count is not None for detail in result.failure_details):
        notes.add("details-sum-mismatch", where, f"{total}, total {failed}")


def _judge_missing_counts(ok: int | None, failed: int | None, where: str, notes: Notes) -> None:
    ok_place, failed_place = f"{where}.total-successful-session-count", f"{where}.total-failure-session-count"
    if ok is None and failed is None and not (notes.is_left_out(ok_place) or notes.is_left_out(failed_place)):
        notes.miss("missing-summary", where)
        return
    if ok is None:
        notes.miss("missing-success-count", ok_place)
    if failed is None:
        notes.miss("missing-failure-count", failed_place)


def _judge_detail(detail: FailureDetail, where: str, notes: Notes) -> None:
    if detail.result_type is None:
        notes.miss("missing-result-type", f"{where}.result-type")
    elif detail.result_type not in _RESULT_TYPES:
        notes.add("unknown-result-type", f"{where}.result-type", detail.result_type)
    if detail.failed_session_count is None:
        notes.miss("missing-failed-session-count", f"{where}.failed-session-count")
    if not detail.sending_mta_ip:
        notes.miss("missing-sending-mta-ip", f"{where}.sending-mta-ip")
    if not detail.receiving_mx_hostname:
        notes.miss("missing-receiving-mx-hostname", f"{where}.receiving-mx-hostname")
    else:
        _judge_controls(detail.receiving_mx_hostname, f"{where}.receiving-mx-hostname", notes)
    if detail.receiving_mx_helo:
        _judge_controls(detail.receiving_mx_helo, f"{where}.receiving-mx-helo", notes)
    if detail.additional_information is not None:
        _judge_uri(detail.additional_information, f"{where}.additional-information", notes)


def _judge_uri(text: str, where: str, notes: Notes) -> None:
    if not _URI.fullmatch(text):
        notes.add("additional-information-not-uri", where, text)
    scheme = _SCHEME.match(text.lstrip())
    if scheme and scheme[1].lower() not in ("http", "https"):
        notes.add("unsafe-uri", where, text)


def _judge_controls(text: str, where: str, notes: Notes) -> None:
    if _CONTROLS.search(text):
        notes.add("control-chars", where, text)
