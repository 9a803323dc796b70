"""Reports as a table: each row stands for itself, and no cell is a formula."""

import csv
import io

import pytest
from tests.render.reports import ATTACKS, USUAL, hostile

from mailward.core.tlsrpt.schema import Policy, PolicyResult, Report, Summary
from mailward.render.csv import COLUMNS, write_head, write_report


def to_rows(report: Report, domain: str | None = None) -> list[dict[str, str]]:
    file = io.StringIO()
    write_head(file)
    write_report(file, "a.json", report, domain=domain)
    return list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))


def test_a_usual_report_is_a_policy_row_and_a_failure_row() -> None:
    shared = {
        "file": "a.json",
        "organization_name": "Google Inc.",
        "contact_info": "smtp-tls-reporting@google.com",
        "report_id": "2024-09-03T00:00:00Z_example.com",
        "start": "2024-09-03T00:00:00Z",
        "end": "2024-09-03T23:59:59Z",
        "policy_type": "sts",
        "policy_domain": "example.com",
    }
    policy = shared | {
        "row": "policy",
        "policy_string": "version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800",
        "mx_host": "*.example.com",
        "successful_sessions": "1198",
        "failed_sessions": "6",
    }
    failure = shared | {
        "row": "failure",
        "failed_sessions": "6",
        "result_type": "certificate-expired",
        "sending_mta_ip": "192.0.2.201",
        "receiving_mx_hostname": "mx2.example.com",
        "receiving_ip": "198.51.100.58",
        "additional_information": "https://example.net/info?id=1&x=2",
    }
    empty = dict.fromkeys(COLUMNS, "")
    assert to_rows(USUAL) == [empty | policy, empty | failure]


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\u200b=", "\xa0@", "\uff1d", "\uff20"]
)
def test_r5_no_cell_is_a_formula(start: str) -> None:
    for row in to_rows(hostile(start + 'HYPERLINK("http://evil.example","x")')):
        assert not [value for value in row.values() if value.startswith(start)]


@pytest.mark.parametrize(("text", "why"), ATTACKS)
def test_rows_stay_whole_whatever_is_in_them(text: str, why: str) -> None:
    rows = to_rows(hostile(text))
    assert [row["row"] for row in rows] == ["policy", "failure"] * 3, why
    assert all(set(row) == set(COLUMNS) for row in rows), why


def test_what_is_unknown_is_empty_and_zero_is_zero() -> None:
    results = [Summary(), Summary(total_successful_session_count=0, total_failure_session_count=0)]
    rows = to_rows(Report(policies=tuple(PolicyResult(summary=summary) for summary in results)))
    assert [(row["successful_sessions"], row["failed_sessions"]) for row in rows] == [("", ""), ("0", "0")]


@pytest.mark.parametrize(
    ("policy", "foreign"),
    [
        (Policy(policy_type="sts", policy_domain="mine.example"), "no"),
        (Policy(policy_type="sts", policy_domain="other.example"), "yes"),
        (Policy(policy_type="tlsa", policy_domain="mx.provider.example"), "no"),
        (Policy(policy_type="no-policy-found"), "no"),
    ],
)
def test_policies_of_other_domains_are_marked(policy: Policy, foreign: str) -> None:
    assert to_rows(Report(policies=(PolicyResult(policy=policy),)), "mine.example")[0]["foreign"] == foreign
