"""The quick way from JSON to values, for documents in which nothing would have to be changed or left out."""

from datetime import UTC
from itertools import chain

import msgspec

from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import DateRange, Policy, PolicyType, Report
from mailward.core.tlsrpt.spelling import all_in_form, is_domain_in_form

_DECODER = msgspec.json.Decoder(Report)
_ENCODER = msgspec.json.Encoder()
_RESULT_TYPES = frozenset(str(each) for each in ResultType)
_POLICY_TYPES = frozenset(str(each) for each in PolicyType)
_WHITE = b" \t\r\n"
_MAX_QUICK = 1024 * 1024  # 99 of 100 reports have less than 14 kB; larger ones are checked before parsing


def quick_report(data: bytes) -> Report | None:
    """The report, if the lenient reader would give the same and have nothing to note; otherwise None."""
    # an empty text is None to us; an escaped quote would spoil the counting of keys
    if len(data) > _MAX_QUICK or b'""' in data or (b"\\" in data and not _has_harmless_escapes(data)):
        return None
    try:
        report = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not _is_in_form(report):
        return None
    # msgspec takes the last of doubled keys and null for None without a word: as many keys must have come in
    # as come out
    written = data.translate(None, _WHITE).count(b'":')
    return report if written == _ENCODER.encode(report).count(b'":') else None


def _has_harmless_escapes(data: bytes) -> bool:
    return b'\\"' not in data and b"\\u0022" not in data


def _is_in_form(report: Report) -> bool:
    period = report.date_range
    if not report.policies or not _is_utc(period):
        return False
    for result in report.policies:
        if not _is_policy_in_form(result.policy):
            return False
        details = result.failure_details
        if details and not (
            all(
                detail.result_type in _RESULT_TYPES and is_domain_in_form(detail.receiving_mx_hostname)
                for detail in details
            )
            and all_in_form(
                [
                    address
                    for address in chain.from_iterable(
                        (detail.sending_mta_ip, detail.receiving_ip) for detail in details
                    )
                    if address is not None
                ]
            )
        ):
            return False
    return True


def _is_utc(period: DateRange) -> bool:
    start, end = period.start_datetime, period.end_datetime
    return start is not None and end is not None and start.tzinfo is UTC and end.tzinfo is UTC


def _is_policy_in_form(policy: Policy) -> bool:
    return policy.policy_type in _POLICY_TYPES and is_domain_in_form(policy.policy_domain)
