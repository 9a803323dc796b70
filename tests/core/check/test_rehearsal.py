"""Reported sessions under a policy that is not published yet."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from tests.core.check.documents import assert_of_the_form
from tests.core.check.made import facts

from mailward.core.check.document import build_document
from mailward.core.check.rehearsal import MAX_ROWS, Rehearsal, Rehearsed, Row
from mailward.core.check.run import run
from mailward.core.mtasts.policy import Mode, parse_policy
from mailward.core.tlsrpt.schema import DateRange, FailureDetail, Policy, PolicyResult, Report, Summary
from mailward.render.rehearsal import render_rehearsal

ENFORCE = parse_policy(b"version: STSv1\nmode: enforce\nmx: mx.example.test\nmax_age: 86400\n")
START = datetime(2026, 11, 20, tzinfo=UTC)


def detail(
    kind: str, mx: str | None = "mx.example.test", sessions: int | None = 2, reason: str | None = None
) -> FailureDetail:
    return FailureDetail(
        result_type=kind,
        receiving_mx_hostname=mx,
        failed_session_count=sessions,
        failure_reason_code=reason,
    )


def report(*details: FailureDetail, kind: str = "sts", good: int = 0, name: str = "Mail Inc") -> Report:
    policy = Policy(policy_type=kind, policy_domain="example.test")
    summary = Summary(total_successful_session_count=good)
    return Report(
        organization_name=name,
        date_range=DateRange(start_datetime=START),
        report_id="1",
        policies=(PolicyResult(policy=policy, summary=summary, failure_details=details),),
    )


def rehearse(*reports: Report) -> Rehearsed:
    rehearsal = Rehearsal("example.test", ENFORCE)
    for each in reports:
        rehearsal.take(each)
    return rehearsal.result()


@pytest.mark.parametrize(
    "failed, code",
    [
        (detail("certificate-expired"), "certificate-expired"),
        (detail("starttls-not-supported"), "starttls-not-supported"),
        (detail("certificate-expired", "mx9.example.test"), "mx-not-in-policy"),
        (
            detail("validation-failure", "mx9.example.test", reason="mtasts-policy-mx-mismatch"),
            "mx-not-in-policy",
        ),
        (detail("something-new"), "unknown"),
    ],
)
def test_sessions_that_failed_would_be_refused(failed: FailureDetail, code: str) -> None:
    [row] = rehearse(report(failed)).refused
    assert (row.sender, row.mx, row.sessions) == ("Mail Inc", failed.receiving_mx_hostname, 2)
    assert row.code == code or code == "unknown"


def test_a_host_that_the_old_policy_left_out_and_the_new_one_covers_would_pass() -> None:
    told = rehearse(report(detail("validation-failure", reason="mtasts-policy-mx-mismatch")))
    assert told.refused == ()
    assert told.passing == (Row("Mail Inc", "mx.example.test", "mx-not-in-policy", 2),)


@pytest.mark.parametrize("kind", ["sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"])
def test_faults_of_the_old_policy_are_none_of_the_new_one(kind: str) -> None:
    assert rehearse(report(detail(kind, None))).refused == ()


def test_sessions_of_dane_and_of_other_domains_are_left_out() -> None:
    other = Report(policies=(PolicyResult(policy=Policy(policy_type="sts", policy_domain="other.test")),))
    told = rehearse(report(detail("certificate-expired"), kind="tlsa", good=5), other)
    assert (told.reports, told.refused, told.successful) == (0, (), 0)


def test_the_same_report_counts_once() -> None:
    told = rehearse(
        report(detail("certificate-expired"), good=7), report(detail("certificate-expired"), good=7)
    )
    assert (told.reports, told.refused_sessions, told.successful) == (1, 2, 7)
    assert (told.first, told.last) == (date(2026, 11, 20), date(2026, 11, 20))


def test_success_without_a_policy_proves_nothing() -> None:
    assert rehearse(report(kind="no-policy-found", good=3)).unverified == 3


def test_a_flood_of_senders_is_put_together() -> None:
    told = rehearse(
        *(report(detail("certificate-expired", sessions=1), name=f"{n}") for n in range(MAX_ROWS + 9))
    )
    assert len(told.refused) == MAX_ROWS + 1
    assert told.refused[0] == Row("others", "", "certificate-expired", 9)
    assert "and 981 rows more (--json has all)" in "\n".join(render_rehearsal(told))


def test_what_strangers_write_is_made_visible() -> None:
    lines = list(render_rehearsal(rehearse(report(detail("x\x1b[31m", "a\x1b]0;b"), name="\u202eevil"))))
    assert not any(char in "".join(lines) for char in "\x1b\u202e")


def test_the_document_has_it() -> None:
    made = rehearse(report(detail("certificate-expired", None), good=7))
    seen = run(facts())
    document = build_document(replace(seen, rehearsed=made))
    assert_of_the_form(document)
    assert document["rehearsal"] == {
        "mode": Mode.ENFORCE,
        "reports": 1,
        "first_day": "2026-11-20",
        "last_day": "2026-11-20",
        "refused": [{"sender": "Mail Inc", "mx": None, "code": "certificate-expired", "sessions": 2}],
        "passing": [],
        "successful": 7,
        "unverified": 0,
    }
