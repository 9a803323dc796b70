"""The quick way from JSON to values, for documents in which nothing would have to be changed or left out.

It gives up on everything else, and never gives another result than the lenient reader: tests compare them.
"""

from datetime import UTC
from itertools import chain

import msgspec

from mailward.core.tlsrpt.limits import Limits
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail, PolicyResult, PolicyType, Report
from mailward.core.tlsrpt.spelling import are_addresses_in_form, are_domains_in_form

_DECODER = msgspec.json.Decoder(Report)
_RESULT_TYPES = frozenset(str(each) for each in ResultType)
_POLICY_TYPES = frozenset(str(each) for each in PolicyType)
_MAX_SIZE = 512 * 1024  # 99 of 100 reports have less than 14 kB; larger ones are checked before parsing

# Quotation marks of a key, and of a key with a text
_KEY = 2
_KEY_AND_TEXT = 4
# those of a report with all that it needs: 4 texts of its own, 2 of the period, 3 keys of containers
_REPORT_MARKS = 3 * _KEY_AND_TEXT + 2 * _KEY + 2 * _KEY_AND_TEXT
_NOT_IN_FORM = -1

_FIELDS = FailureDetail.__struct_fields__


def _column(field: str) -> slice:
    return slice(_FIELDS.index(field), None, len(_FIELDS))


_RESULTS = _column("result_type")
_SENDERS = _column("sending_mta_ip")
_HOSTS = _column("receiving_mx_hostname")
_RECEIVERS = _column("receiving_ip")
_COUNTS = _column("failed_session_count")


def quick_report(data: bytes, limits: Limits) -> Report | None:
    """The report, if the lenient reader would give the same and have nothing to note but what judge_report
    sees; otherwise None.
    """
    if len(data) > _MAX_SIZE or len(data) > limits.max_values or limits.max_depth < 8:
        return None
    try:
        report = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # msgspec takes the last of doubled keys, and null for None, without a word. But either leaves more marks in
    # the document than its values account for.
    marks = _count_marks(report)
    if marks < 0 or data.count(b'"') != marks + (_count_escaped_marks(data) if b"\\" in data else 0):
        return None
    return report


def _count_escaped_marks(data: bytes) -> int:
    """Of the marks inside texts; a number that never fits when escaped backslashes make it hard to tell."""
    return len(data) if b"\\\\" in data else data.count(b'\\"')


def _count_marks(report: Report) -> int:
    """The quotation marks that these values take in JSON; negative when one of them is not in form."""
    start, end = report.date_range.start_datetime, report.date_range.end_datetime
    if not (
        start is not None
        and end is not None
        and start.tzinfo is UTC
        and end.tzinfo is UTC
        and report.organization_name
        and report.contact_info
        and report.report_id
        and report.policies
    ):
        return _NOT_IN_FORM
    marks = _REPORT_MARKS
    for result in report.policies:
        in_result = _count_marks_of_result(result)
        if in_result < 0:
            return _NOT_IN_FORM
        marks += in_result
    return marks


def _count_marks_of_result(result: PolicyResult) -> int:
    policy, summary = result.policy, result.summary
    if (
        policy.policy_type not in _POLICY_TYPES
        or policy.policy_domain is None
        or not are_domains_in_form((policy.policy_domain,))
        or summary.total_successful_session_count is None
        or summary.total_failure_session_count is None
    ):
        return _NOT_IN_FORM
    # policy and summary; type and domain; two counts
    marks = 2 * _KEY + 2 * _KEY_AND_TEXT + 2 * _KEY
    if policy.policy_string:
        marks += _KEY + 2 * len(policy.policy_string)
    if policy.mx_host:
        marks += _KEY + 2 * len(policy.mx_host)
    if not result.failure_details:
        return marks
    in_details = _count_marks_of_details(result.failure_details)
    return _NOT_IN_FORM if in_details < 0 else marks + _KEY + in_details


def _count_marks_of_details(details: tuple[FailureDetail, ...]) -> int:
    # all values in one list, by columns: a detail at a time takes twice as long
    values = list(chain.from_iterable(map(msgspec.structs.astuple, details)))
    if (
        "" in values  # an empty text is None to us
        or None in values[_COUNTS]
        or not _RESULT_TYPES.issuperset(values[_RESULTS])
        or not are_domains_in_form(values[_HOSTS])
        or not are_addresses_in_form(values[_SENDERS] + values[_RECEIVERS])
    ):
        return _NOT_IN_FORM
    # the count is a number, everything else a text
    return (len(values) - len(details) - values.count(None)) * _KEY_AND_TEXT + len(details) * _KEY
