"""Whatever a report holds, every rendering of it comes out."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mailward.core.tlsrpt.document import build_document
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import (
    DateRange,
    FailureDetail,
    Policy,
    PolicyResult,
    PolicyType,
    Report,
    Summary,
)
from mailward.render.csv import write_report
from mailward.render.html import render_page
from mailward.render.terminal import Overview, print_document

TEXT = st.none() | st.sampled_from(["example.com", "mx1.example.com", "192.0.2.1"]) | st.text(max_size=30)
COUNT = st.none() | st.integers(0, 2**53)
MOMENT = st.none() | st.datetimes(timezones=st.timezones())
LINES = st.lists(st.text(max_size=20), max_size=3).map(tuple)
DETAIL = st.builds(
    FailureDetail,
    result_type=st.sampled_from(ResultType) | TEXT,
    sending_mta_ip=TEXT,
    receiving_mx_hostname=TEXT,
    receiving_mx_helo=TEXT,
    receiving_ip=TEXT,
    failed_session_count=COUNT,
    additional_information=TEXT,
    failure_reason_code=TEXT,
)
RESULT = st.builds(
    PolicyResult,
    policy=st.builds(
        Policy,
        policy_type=st.sampled_from(PolicyType) | TEXT,
        policy_domain=TEXT,
        policy_string=LINES,
        mx_host=LINES,
    ),
    summary=st.builds(Summary, total_successful_session_count=COUNT, total_failure_session_count=COUNT),
    failure_details=st.lists(DETAIL, max_size=4).map(tuple),
)
REPORT = st.builds(
    Report,
    organization_name=TEXT,
    contact_info=TEXT,
    report_id=TEXT,
    date_range=st.builds(DateRange, start_datetime=MOMENT, end_datetime=MOMENT),
    policies=st.lists(RESULT, max_size=3).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(report=REPORT, domain=st.sampled_from([None, "example.com"]))
def test_every_rendering_of_any_report_comes_out(report: Report, domain: str | None) -> None:
    document = build_document(report, domain=domain)
    console = Console(file=io.StringIO(), width=80)
    print_document(document, console, name="a.json")
    Overview(console).print_row(document)
    write_report(io.StringIO(), "a.json", report, domain=domain)
    assert document.verdict.endswith(".")
    assert render_page([document], title="x").endswith("</html>\n")
