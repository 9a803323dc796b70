"""One JSON document -> its reports.

Two ways with one result. The quick way decodes what most senders send into the typed values at C speed, and
gives up where a value is missing its usual form, or a key stands twice. The lenient way reads everything.
"""

from datetime import datetime

import msgspec

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.fields import FieldReader, split_lines
from mailward.core.tlsrpt.json_text import Fields, parse_json
from mailward.core.tlsrpt.judge import judge_report
from mailward.core.tlsrpt.limits import Limits
from mailward.core.tlsrpt.quick import quick_report
from mailward.core.tlsrpt.schema import (
    DateRange,
    FailureDetail,
    Policy,
    PolicyResult,
    Report,
    Summary,
)


def _keys_of(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(struct.__struct_encode_fields__)


_REPORT_KEYS = _keys_of(Report)
_RANGE_KEYS = _keys_of(DateRange)
_RESULT_KEYS = _keys_of(PolicyResult)
_POLICY_KEYS = _keys_of(Policy) | {"mx-host-pattern"}
_SUMMARY_KEYS = _keys_of(Summary)
_DETAIL_KEYS = _keys_of(FailureDetail) | {"additional-info-uri"}


def read_document(
    data: bytes, notes: Notes, limits: Limits, *, now: datetime | None = None, first: int | None = None
) -> tuple[Report, ...]:
    """The reports of a JSON document, at least one. Raises Unreadable.

    `first`: the number of this document's first report, where the file or mail has more than this document.
    """
    report = quick_report(data, limits)
    if report is not None:
        judge_report(report, notes, now=now, prefix="" if first is None else f"reports[{first}].")
        return (report,)
    return read_leniently(data, notes, limits, now=now, first=first)


def read_leniently(
    data: bytes, notes: Notes, limits: Limits, *, now: datetime | None = None, first: int | None = None
) -> tuple[Report, ...]:
    """As read_document, whatever the document."""
    place = "" if first is None else f"reports[{first}]."
    objects = _find_reports(parse_json(data, notes, limits, prefix=place), notes, limits, place)
    reports = []
    for at, fields in enumerate(objects, first or 0):
        prefix = "" if first is None and len(objects) == 1 else f"reports[{at}]."
        report = _read_report(fields, prefix.removesuffix("."), notes)
        judge_report(report, notes, now=now, prefix=prefix)
        reports.append(report)
    return tuple(reports)


def _find_reports(value: object, notes: Notes, limits: Limits, place: str) -> list[Fields]:
    entries = value if isinstance(value, list) else [value]
    objects = [each for each in entries if isinstance(each, Fields) and _is_report(each)]
    if not objects:
        raise Unreadable("no-report", "the JSON document has none of the keys of a TLS report")
    if len(objects) > limits.max_reports:
        raise Unreadable("too-many", f"the JSON document holds more than {limits.max_reports} reports")
    if isinstance(value, list):
        notes.add("array-top", f"{place}line 1", f"{len(value)} entries")
    if len(objects) < len(entries):
        notes.add("wrong-type", f"{place}line 1", f"{len(entries) - len(objects)} entries are no reports")
    return objects


def _is_report(fields: Fields) -> bool:
    return "policies" in fields or len(_REPORT_KEYS & fields.keys()) >= 2


def _read_report(fields: Fields, where: str, notes: Notes) -> Report:
    read = FieldReader(fields, where, notes, _REPORT_KEYS)
    period = FieldReader(read.raw("date-range"), read.path("date-range"), notes, _RANGE_KEYS)
    policies = read.raw("policies")
    if policies is None:
        read.note("missing-policies", "policies")
    elif not isinstance(policies, list):
        read.leave_out_type("policies")
    elif not policies:
        read.note("empty-policies", "policies")
    return Report(
        organization_name=read.text("organization-name"),
        date_range=DateRange(
            start_datetime=period.time("start-datetime"), end_datetime=period.time("end-datetime")
        ),
        contact_info=read.text("contact-info"),
        report_id=read.text("report-id"),
        policies=tuple(
            _read_result(each, read.path(f"policies[{at}]"), notes)
            for at, each in enumerate(policies if isinstance(policies, list) else ())
            if read.is_object(each, f"policies[{at}]")
        ),
    )


def _read_result(fields: object, where: str, notes: Notes) -> PolicyResult:
    read = FieldReader(fields, where, notes, _RESULT_KEYS)
    summary = FieldReader(read.raw("summary"), read.path("summary"), notes, _SUMMARY_KEYS)
    details = read.raw("failure-details")
    if isinstance(details, Fields):
        read.note("failure-details-object", "failure-details")
        details = [details]
    elif details is None and "failure-details" in read:
        read.note("failure-details-null", "failure-details")
    elif details is not None and not isinstance(details, list):
        read.leave_out_type("failure-details")
    return PolicyResult(
        policy=_read_policy(read.raw("policy"), read.path("policy"), notes),
        summary=Summary(
            total_successful_session_count=summary.count("total-successful-session-count"),
            total_failure_session_count=summary.count("total-failure-session-count"),
        ),
        failure_details=tuple(
            _read_detail(each, read.path(f"failure-details[{at}]"), notes)
            for at, each in enumerate(details if isinstance(details, list) else ())
            if read.is_object(each, f"failure-details[{at}]")
        ),
    )


def _read_policy(fields: object, where: str, notes: Notes) -> Policy:
    read = FieldReader(fields, where, notes, _POLICY_KEYS)
    mx_key = "mx-host"
    if "mx-host-pattern" in read:
        # the RFC's own name for the value; old senders took it for the key
        read.note("mx-host-pattern-key", "mx-host-pattern")
        if "mx-host" not in read:
            mx_key = "mx-host-pattern"
    return Policy(
        policy_type=read.token("policy-type", "policy-type-case"),
        policy_string=read.texts("policy-string", split_lines, "policy-string-string"),
        policy_domain=read.domain("policy-domain"),
        mx_host=read.texts(mx_key, lambda text: (text,), "mx-host-string"),
    )


def _read_detail(fields: object, where: str, notes: Notes) -> FailureDetail:
    read = FieldReader(fields, where, notes, _DETAIL_KEYS)
    information_key = "additional-information"
    if "additional-info-uri" in read:
        # as with mx-host-pattern
        read.note("additional-info-uri-key", "additional-info-uri")
        if "additional-information" not in read:
            information_key = "additional-info-uri"
    return FailureDetail(
        result_type=read.token("result-type", "result-type-case"),
        sending_mta_ip=read.address("sending-mta-ip"),
        receiving_mx_hostname=read.domain("receiving-mx-hostname"),
        receiving_mx_helo=read.text("receiving-mx-helo"),
        receiving_ip=read.address("receiving-ip"),
        failed_session_count=read.count("failed-session-count"),
        additional_information=read.text(information_key),
        failure_reason_code=read.text("failure-reason-code"),
    )
