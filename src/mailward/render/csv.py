"""Reports as a table: one row for each policy's counts, one for each failure detail.

Policy type and domain stand on every row, so that no row needs its neighbours. A cell that a spreadsheet
would take for a formula begins with an apostrophe. Counts are never to be added over policy types.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TextIO

from mailward.core.tlsrpt.schema import FailureDetail, PolicyResult, PolicyType, Report
from mailward.render.cell import Cell, neutralise

COLUMNS = (
    "file",
    "row",
    "organization_name",
    "contact_info",
    "report_id",
    "start",
    "end",
    "policy_type",
    "policy_domain",
    "foreign",
    "policy_string",
    "mx_host",
    "successful_sessions",
    "failed_sessions",
    "result_type",
    "sending_mta_ip",
    "receiving_mx_hostname",
    "receiving_mx_helo",
    "receiving_ip",
    "failure_reason_code",
    "additional_information",
)


def write_head(file: TextIO) -> None:
    csv.writer(file, lineterminator="\r\n").writerow(COLUMNS)  # RFC 4180


def write_report(file: TextIO, name: str, report: Report, *, domain: str | None = None) -> None:
    """The rows of one report; `name` is the file it came in. With `domain`, other domains are foreign."""
    rows = csv.writer(file, lineterminator="\r\n")
    rows.writerows([neutralise(cell) for cell in row] for row in _rows(name, report, domain))


def _rows(name: str, report: Report, domain: str | None) -> Iterator[Iterable[Cell]]:
    period = report.date_range
    about = (
        report.organization_name,
        report.contact_info,
        report.report_id,
        _write_time(period.start_datetime),
        _write_time(period.end_datetime),
    )
    for result in report.policies:
        policy, summary = result.policy, result.summary
        texts = "\n".join(policy.policy_string), "\n".join(policy.mx_host)
        which = policy.policy_type, policy.policy_domain, _say_foreign(result, domain)
        counts = summary.total_successful_session_count, summary.total_failure_session_count
        yield (name, "policy", *about, *which, *texts, *counts, *(None,) * 7)
        for detail in result.failure_details:
            yield (name, "failure", *about, *which, None, None, None, *_detail_cells(detail))


def _detail_cells(detail: FailureDetail) -> tuple[Cell, ...]:
    return (
        detail.failed_session_count,
        detail.result_type,
        detail.sending_mta_ip,
        detail.receiving_mx_hostname,
        detail.receiving_mx_helo,
        detail.receiving_ip,
        detail.failure_reason_code,
        detail.additional_information,
    )


def _say_foreign(result: PolicyResult, domain: str | None) -> str | None:
    if domain is None:
        return None
    name = result.policy.policy_domain
    # RFC 8460 section 4.4: `tlsa` names an MX host, which can have any name
    return "no" if name in (None, domain) or result.policy.policy_type == PolicyType.TLSA else "yes"


def _write_time(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
