"""One line per file: our public machine format, with everything read and every deviation's slug."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

import msgspec

from mailward.core.tlsrpt.deviations import slugs_of
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.reading import Reading
from mailward.core.tlsrpt.schema import FailureDetail, PolicyResult, Report

_ENCODER = msgspec.json.Encoder()


def jsonl_row(file: str, outcome: Reading | Unreadable) -> dict[str, object]:
    """What one file holds. Unknown is null, never 0: counts are not to be summed over policy types."""
    if isinstance(outcome, Unreadable):
        return {
            "file": file,
            "outcome": "rejected",
            "reason": outcome.detail,
            "reports": [],
            "deviations": [outcome.code],
        }
    return {
        "file": file,
        "outcome": "reports",
        "reason": None,
        "reports": [_report(report) for report in outcome.reports],
        "deviations": slugs_of(outcome.deviations),
    }


def write_jsonl(rows: Iterable[dict[str, object]]) -> bytes:
    return _ENCODER.encode_lines(rows)


def _report(report: Report) -> dict[str, object]:
    return {
        "organization": report.organization_name,
        "report_id": report.report_id,
        "start": _time(report.date_range.start_datetime),
        "end": _time(report.date_range.end_datetime),
        "policies": [_policy(result) for result in report.policies],
        "extra": {"contact_info": report.contact_info},
    }


def _policy(result: PolicyResult) -> dict[str, object]:
    policy = result.policy
    return {
        "type": policy.policy_type,
        "domain": policy.policy_domain,
        "ok": result.summary.total_successful_session_count,
        "failed": result.summary.total_failure_session_count,
        "details": [_detail(detail) for detail in result.failure_details],
        "extra": {"policy_string": policy.policy_string, "mx_host": policy.mx_host},
    }


def _detail(detail: FailureDetail) -> dict[str, object]:
    row: dict[str, object] = {
        "result_type": detail.result_type,
        "count": detail.failed_session_count,
        "sending_mta_ip": detail.sending_mta_ip,
        "receiving_mx_hostname": detail.receiving_mx_hostname,
    }
    extra = {
        key: value
        for key, value in (
            ("receiving_ip", detail.receiving_ip),
            ("receiving_mx_helo", detail.receiving_mx_helo),
            ("failure_reason_code", detail.failure_reason_code),
            ("additional_information", detail.additional_information),
        )
        if value is not None
    }
    if extra:
        row["extra"] = extra
    return row


@lru_cache(maxsize=1024)
def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
