"""A report as a person reads it: what is said first, what is never added up, what is left out and counted."""

from datetime import UTC, datetime

import pytest

from mailward.core.explain.catalogue import Severity, explain_policy_type, explain_result
from mailward.core.tlsrpt.deviations import Deviation, Level
from mailward.core.tlsrpt.document import (
    MAX_FAILURES,
    DeviationNote,
    Document,
    Failure,
    Information,
    PolicySection,
    Source,
    State,
    build_document,
)
from mailward.core.tlsrpt.schema import DateRange, FailureDetail, Policy, PolicyResult, Report, Summary
from mailward.core.tlsrpt.sentences import say_list, say_period, say_share, shorten

DAY = DateRange(
    start_datetime=datetime(2024, 9, 3, tzinfo=UTC), end_datetime=datetime(2024, 9, 3, 23, 59, 59, tzinfo=UTC)
)
STS = Policy(
    policy_type="sts",
    policy_domain="example.com",
    policy_string=("version: STSv1", "mode: enforce", "mx: mx1.example.com", "max_age: 604800"),
    mx_host=("mx1.example.com",),
)
TLSA = Policy(policy_type="tlsa", policy_domain="mx1.example.com", policy_string=("3 1 1 00",))
EXPIRED = FailureDetail(
    result_type="certificate-expired",
    sending_mta_ip="192.0.2.1",
    receiving_mx_hostname="mx1.example.com",
    receiving_ip="198.51.100.25",
    failed_session_count=6,
)


def result(ok: int | None, failed: int | None, *details: FailureDetail, policy: Policy = STS) -> PolicyResult:
    summary = Summary(total_successful_session_count=ok, total_failure_session_count=failed)
    return PolicyResult(policy=policy, summary=summary, failure_details=details)


def report(*policies: PolicyResult) -> Report:
    return Report(
        organization_name="Google Inc.",
        date_range=DAY,
        contact_info="tls@google.com",
        report_id="day_example.com",
        policies=policies,
    )


def test_a_report_with_one_failure_becomes_this_document() -> None:
    explanation = explain_result("certificate-expired").filled(mx="mx1.example.com", domain="example.com")
    failure = Failure(
        result_type="certificate-expired",
        explanation=explanation,
        consequence=(
            "The policy says `mode: enforce`: this mail was not delivered there. The sender tries again for "
            "days."
        ),
        host="mx1.example.com",
        helos=(),
        addresses=("198.51.100.25",),
        count=6,
        incomplete=False,
        reasons=(),
        information=(),
        sources=(Source("Google Inc.", "192.0.2.1", 6),),
        sources_left_out=0,
    )
    section = PolicySection(
        title="MTA-STS policy of example.com",
        explanation=explain_policy_type("sts").filled(domain="example.com"),
        policy_type="sts",
        domain="example.com",
        mode="enforce",
        lines=STS.policy_string,
        mx_patterns=STS.mx_host,
        ok=1198,
        failed=6,
        share="99.5 %",
        sentence="1,204 sessions: 1,198 encrypted, 6 failed.",
        notes=(),
        failures=(failure,),
        failures_left_out=0,
    )
    assert build_document(report(result(1198, 6, EXPIRED))) == Document(
        verdict="6 of 1,204 sessions failed: the certificate of mx1.example.com has expired.",
        state=State.FAILED,
        severity=Severity.CRITICAL,
        sentences=(
            "Google Inc. saw 1,204 sessions to example.com on 3 September 2024: 1,198 encrypted, 6 failed.",
        ),
        reporter="Google Inc.",
        contact="tls@google.com",
        report_id="day_example.com",
        period="on 3 September 2024",
        about="example.com",
        policies=(section,),
        foreign=(),
        policies_left_out=0,
        deviations=(),
    )


def test_an_empty_report_says_that_nothing_is_known() -> None:
    document = build_document(Report())
    assert document == Document(
        verdict="The report holds no policy: it says nothing about any session.",
        state=State.UNKNOWN,
        severity=None,
        sentences=(
            (
                "An organisation that gives no name reports on sessions to a domain that it does not name at "
                "a time that it does not say."
            ),
        ),
        reporter="An organisation that gives no name",
        contact=None,
        report_id=None,
        period="at a time that it does not say",
        about="a domain that it does not name",
        policies=(),
        foreign=(),
        policies_left_out=0,
        deviations=(),
    )


NO_POLICY = Policy(policy_type="no-policy-found", policy_domain="example.com")


@pytest.mark.parametrize(
    ("results", "verdict", "state"),
    [
        ([result(53, 0)], "All 53 sessions were encrypted.", State.ENCRYPTED),
        ([result(1, 0)], "The only session was encrypted.", State.ENCRYPTED),
        (
            [result(53, 0, policy=NO_POLICY)],
            "All 53 sessions were encrypted, though no policy asks for it.",
            State.ENCRYPTED,
        ),
        (
            [result(95, 0), result(95, 0, policy=TLSA)],
            "All sessions were encrypted: 95 under MTA-STS and 95 under DANE.",
            State.ENCRYPTED,
        ),
        ([result(0, 0)], "No session was seen.", State.UNKNOWN),
        ([result(None, None)], "The report does not say how many sessions failed.", State.UNKNOWN),
        ([result(9, None)], "The report does not say how many sessions failed.", State.UNKNOWN),
        ([result(None, 0)], "No session failed; how many were encrypted is not said.", State.ENCRYPTED),
        ([result(3, 5)], "5 of 8 sessions failed; the report does not say why.", State.FAILED),
        ([result(0, 1)], "The only session failed; the report does not say why.", State.FAILED),
        (
            [result(0, 6, EXPIRED)],
            "All 6 sessions failed: the certificate of mx1.example.com has expired.",
            State.FAILED,
        ),
        (
            [result(None, 6, EXPIRED)],
            "6 sessions failed: the certificate of mx1.example.com has expired.",
            State.FAILED,
        ),
        (
            [result(9, 0, EXPIRED)],
            "Failures are listed, though none is counted: the certificate of mx1.example.com has expired.",
            State.FAILED,
        ),
        (
            [result(95, 5, EXPIRED), result(95, 6, EXPIRED, policy=TLSA)],
            "6 of 101 sessions failed under DANE: the certificate of mx1.example.com has expired.",
            State.FAILED,
        ),
        (
            [result(8, 2, FailureDetail(result_type="sts-policy-fetch-error"), EXPIRED)],
            "2 of 10 sessions failed: the certificate of mx1.example.com has expired, and 1 more cause.",
            State.FAILED,
        ),
    ],
)
def test_the_verdict_comes_first(results: list[PolicyResult], verdict: str, state: State) -> None:
    document = build_document(report(*results))
    assert (document.verdict, document.state) == (verdict, state)


def test_sts_and_tlsa_are_never_added_up() -> None:
    document = build_document(report(result(95, 5, EXPIRED), result(95, 5, EXPIRED, policy=TLSA)))
    assert document.sentences == (
        "Google Inc. reports on sessions to example.com on 3 September 2024.",
        "Under MTA-STS: 100 sessions: 95 encrypted, 5 failed.",
        "Under DANE: 100 sessions: 95 encrypted, 5 failed.",
        "The same session can stand under both, so they are not added up.",
    )


def test_two_policies_of_one_type_add_up() -> None:
    changed = Policy(policy_type="sts", policy_domain="example.com", policy_string=("mode: testing",))
    document = build_document(report(result(10, 0), result(5, 0, policy=changed)))
    assert document.verdict == "All 15 sessions were encrypted."


def test_policies_of_other_domains_stand_apart_and_are_not_counted() -> None:
    other = Policy(policy_type="sts", policy_domain="other.example")
    document = build_document(
        report(result(1, 9, policy=other), result(53, 0), result(53, 0, policy=TLSA)), domain="example.com"
    )
    assert document.verdict == "All sessions were encrypted: 53 under MTA-STS and 53 under DANE."
    assert [section.domain for section in document.policies] == ["example.com", "mx1.example.com"]
    assert [section.domain for section in document.foreign] == ["other.example"]


def test_a_report_about_somebody_else_says_so() -> None:
    document = build_document(report(result(53, 0)), domain="mine.example")
    assert document.verdict == "This report is about example.com, not about mine.example."
    assert document.state is State.FOREIGN
    assert document.policies == ()


def test_routing_may_say_which_policies_are_ours() -> None:
    document = build_document(
        report(result(1, 0), result(2, 0, policy=TLSA)), domain="example.com", own=(0, 99)
    )
    assert [section.policy_type for section in document.policies] == ["sts"]
    assert [section.policy_type for section in document.foreign] == ["tlsa"]


def test_the_domain_of_tlsa_is_named_as_an_mx_host() -> None:
    mismatch = FailureDetail(result_type="certificate-not-trusted", failed_session_count=1)
    section = build_document(report(result(0, 1, mismatch, policy=TLSA))).policies[0]
    assert section.title == "DANE records of the MX host mx1.example.com"
    assert section.failures[0].host == "mx1.example.com"
    assert (
        section.failures[0].explanation.clause
        == "the certificate of mx1.example.com does not match its TLSA record"
    )


def test_a_recipients_domain_in_tlsa_is_not_taken_for_an_mx_host() -> None:
    # Microsoft sends it so
    recipient = Policy(policy_type="tlsa", policy_domain="example.com")
    section = build_document(report(result(2, 0), result(2, 0, policy=recipient))).policies[1]
    assert section.title == "DANE records of example.com"


def test_failures_are_gathered_by_type_and_host_with_sources_under_them() -> None:
    from_two = (
        EXPIRED,
        FailureDetail(
            result_type="certificate-expired",
            sending_mta_ip="192.0.2.2",
            receiving_mx_hostname="mx1.example.com",
            receiving_mx_helo="mail.example.com",
            receiving_ip="2001:db8::25",
            failed_session_count=9,
            failure_reason_code="X509_V_ERR_CERT_HAS_EXPIRED",
        ),
    )
    elsewhere = FailureDetail(result_type="certificate-expired", receiving_mx_hostname="mx2.example.com")
    section = build_document(report(result(1, 15, *from_two, elsewhere))).policies[0]
    first, second = section.failures
    assert first.sources == (
        Source("Google Inc.", "192.0.2.2", 9),
        Source("Google Inc.", "192.0.2.1", 6),
    )
    assert (first.count, first.helos, first.addresses) == (
        15,
        ("mail.example.com",),
        ("198.51.100.25", "2001:db8::25"),
    )
    assert (second.host, second.count) == ("mx2.example.com", None)
    assert section.notes == ("Some of the failures listed come without a number.",)


@pytest.mark.parametrize(
    ("failed", "listed", "note"),
    [
        (6, 6, ()),
        (6, 4, ("The failures listed add up to 4 of 6: the rest is not explained.",)),
        (
            6,
            8,
            (
                (
                    "The failures listed add up to 8, the total says 6: one session can fail for several "
                    "reasons, or the report is wrong."
                ),
            ),
        ),
        (None, 4, ("The report gives no total of failures; those listed add up to 4.",)),
        (6, None, ("The report does not say why these sessions failed.",)),
        (0, None, ()),
    ],
)
def test_a_report_that_contradicts_itself_is_shown_to(
    failed: int | None, listed: int | None, note: tuple[str, ...]
) -> None:
    details = (
        [FailureDetail(result_type="certificate-expired", failed_session_count=listed)] if listed else []
    )
    assert build_document(report(result(1, failed, *details))).policies[0].notes == note


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.net/info?id=1", "https://example.net/info?id=1"),
        ("HTTP://example.net/", "HTTP://example.net/"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://example.net/a b", None),
        ("https://example.net/\u202e", None),
        ("//example.net/", None),
        ("https://example.net/" + "x" * 400, None),
    ],
)
def test_only_plain_web_addresses_are_linked(text: str, url: str | None) -> None:
    detail = FailureDetail(result_type="validation-failure", additional_information=text)
    failure = build_document(report(result(1, 1, detail))).policies[0].failures[0]
    assert failure.information == (Information(shorten(text), url),)


def test_a_huge_report_keeps_its_largest_failures_and_counts_the_rest() -> None:
    details = [
        FailureDetail(
            result_type="certificate-expired",
            receiving_mx_hostname=f"mx{number}.example.com",
            failed_session_count=number,
        )
        for number in range(1000)
    ]
    section = build_document(report(result(1, 499_500, *details))).policies[0]
    assert len(section.failures) == MAX_FAILURES
    assert section.failures_left_out == 1000 - MAX_FAILURES
    assert section.failures[0].host == "mx999.example.com"


def test_testing_mode_warns_where_enforce_alarms() -> None:
    testing = Policy(policy_type="sts", policy_domain="example.com", policy_string=("mode: testing",))
    document = build_document(report(result(1, 6, EXPIRED, policy=testing)))
    assert document.severity is Severity.WARNING
    assert "delivered all the same" in document.policies[0].failures[0].consequence


def test_deviations_are_said_in_words_once_each() -> None:
    deviations = [
        Deviation("missing-mx-host", "policies[0].policy.mx-host"),
        Deviation("count-negative", "policies[0].summary.total-failure-session-count", "-1"),
        Deviation("count-negative", "policies[1].summary.total-failure-session-count", "-2"),
    ]
    notes = build_document(report(), deviations).deviations
    assert [(note.slug, note.level, note.count) for note in notes] == [
        ("count-negative", Level.RFC, 2),
        ("missing-mx-host", Level.NOTICE, 1),
    ]
    assert isinstance(notes[0], DeviationNote)
    assert notes[0].places == tuple(deviation.where for deviation in deviations[1:])
    assert notes[0].value == "-1"


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2024-09-03T00:00:00Z", "2024-09-04T00:00:00Z", "on 3 September 2024"),
        ("2024-09-03T00:00:00Z", "2024-09-03T23:59:59Z", "on 3 September 2024"),
        (
            "2024-09-03T04:00:00Z",
            "2024-09-04T04:00:00Z",
            "from 3 September 2024 04:00 to 4 September 2024 04:00 UTC",
        ),
        (
            "2024-09-04T00:00:00Z",
            "2024-09-03T00:00:00Z",
            "from 4 September 2024 00:00 to 3 September 2024 00:00 UTC",
        ),
        ("2024-09-03T00:00:00Z", None, "from 3 September 2024 00:00 UTC"),
        (None, "2024-09-03T00:00:00Z", "until 3 September 2024 00:00 UTC"),
    ],
)
def test_a_period_is_said_as_people_say_it(start: str | None, end: str | None, words: str) -> None:
    period = DateRange(
        start_datetime=datetime.fromisoformat(start) if start else None,
        end_datetime=datetime.fromisoformat(end) if end else None,
    )
    assert say_period(period) == words


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert [say_share(*pair) for pair in ((10, 0), (999_999, 1), (0, 5), (0, 0), (None, 1))] == [
        "100 %",
        "99.9 %",
        "0.0 %",
        "",
        "",
    ]


def test_lists_are_said_with_and() -> None:
    assert [say_list(list(names), "domain") for names in ("", "a", "ab", "abc", "abcd")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "4 domains",
    ]
