"""Corrections of what Postfix counts, and counts of what it does not."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.mtasts.policy import Policy, parse_policy
from mailward.core.names import Domain
from mailward.core.postfix.answer import render
from mailward.core.postfix.socketmap import Dialect
from mailward.core.sending.facts import Decision, Level, Row
from mailward.core.tlsrpt import schema
from mailward.core.tlsrpt.blindspots import (
    MX_MISMATCH,
    correct_signal,
    correct_verified,
    count_unreported,
    count_without_policy,
    no_policy_label,
    patterns_in_testing,
    sts_label,
)
from mailward.core.tlsrpt.counting import Detail, Origin, Tally, add_up
from mailward.core.tlsrpt.joining import Kind, Session, Signal
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail

DOMAIN = Domain("a.test")
DAY, AT = date(2026, 11, 28), 1_795_907_702.0


def policy(mode: str = "testing", *mx: str) -> Policy:
    lines = "".join(f"mx: {name}\n" for name in mx or ("mx.a.test", "*.b.test"))
    return parse_policy(f"version: STSv1\nmode: {mode}\n{lines}max_age: 86400\n".encode())


def success(label: schema.Policy) -> Tally:
    return Tally(DAY, DOMAIN, "v=TLSRPTv1; rua=mailto:a@a.test", label, Origin.DATAGRAM, 1, 0)


def session(kind: Kind = Kind.CLEAR, host: str = "mx.a.test", tally: Tally | None = None) -> Session:
    signal = Signal(7, AT, tally) if tally else None
    return Session(kind, AT, DOMAIN, host, "192.0.2.1", signal)


def failure(result: str, host: str = "mx.a.test", reason: str | None = None) -> FailureDetail:
    return FailureDetail(
        result_type=result, receiving_mx_hostname=host, receiving_ip="192.0.2.1", failure_reason_code=reason
    )


def test_a_success_with_a_host_that_the_testing_policy_does_not_name_is_a_failure() -> None:
    counted = success(sts_label(DOMAIN, policy()))
    corrected = correct_signal(session(Kind.TLS, "mx.evil.test", counted))
    detail = Detail(failure("validation-failure", "mx.evil.test", MX_MISMATCH), 1)
    assert corrected == counted._replace(origin=Origin.LOG, successes=-1, failures=1, details=(detail,))


@pytest.mark.parametrize(
    ("label", "host"),
    [
        (sts_label(DOMAIN, policy()), "mx.a.test"),
        (sts_label(DOMAIN, policy()), "x.b.test"),
        (sts_label(DOMAIN, policy("enforce")), "mx.evil.test"),  # Postfix sees to that itself
        (schema.Policy(policy_type="no-policy-found", policy_domain="a.test"), "mx.evil.test"),
        (schema.Policy(policy_type="tlsa", policy_domain="mx.evil.test"), "mx.evil.test"),
    ],
)
def test_other_successes_stay(label: schema.Policy, host: str) -> None:
    assert correct_signal(session(Kind.TLS, host, success(label))) is None


def test_where_postfix_is_not_told_the_patterns_they_are_in_the_text() -> None:
    label = sts_label(DOMAIN, policy(), Level.DANE)
    assert label.mx_host == ()
    assert patterns_in_testing(label) == ("mx.a.test", "*.b.test")


def test_what_we_have_seen_of_a_certificate_turns_a_success() -> None:
    counted = success(sts_label(DOMAIN, policy()))
    corrected = correct_verified(session(Kind.TLS, tally=counted), ResultType.CERTIFICATE_HOST_MISMATCH, "")
    detail = Detail(failure("certificate-host-mismatch"), 1)
    assert corrected == counted._replace(origin=Origin.PROBE, successes=-1, failures=1, details=(detail,))


CLEAR = [
    ("testing", "mx.a.test", "starttls-not-supported", None),
    ("testing", "mx.evil.test", "validation-failure", MX_MISMATCH),
]


@pytest.mark.parametrize(("mode", "host", "result", "reason"), CLEAR)
def test_mail_in_the_clear_under_a_testing_policy_is_a_failure(
    mode: str, host: str, result: str, reason: str | None
) -> None:
    label = sts_label(DOMAIN, policy(mode))
    counted = count_unreported(session(host=host), policy(mode), label, "v=TLSRPTv1; rua=mailto:a@a.test")
    assert counted == success(label)._replace(
        origin=Origin.LOG, successes=0, failures=1, details=(Detail(failure(result, host, reason), 1),)
    )


def test_a_host_that_an_enforcing_policy_does_not_name_is_a_failure() -> None:
    label = sts_label(DOMAIN, policy("enforce"))
    outside = Session(Kind.OUTSIDE, AT, DOMAIN, "mx.evil.test", "")
    counted = count_unreported(outside, policy("enforce"), label, "v")
    assert counted is not None
    expected = FailureDetail(
        result_type="validation-failure",
        receiving_mx_hostname="mx.evil.test",
        failure_reason_code=MX_MISMATCH,
    )
    assert counted.details == (Detail(expected, 1),)


@pytest.mark.parametrize(
    ("kind", "mode", "host"),
    [
        (Kind.CLEAR, "enforce", "mx.a.test"),  # an override's doing, not the policy's
        (Kind.CLEAR, "none", "mx.a.test"),
        (Kind.OUTSIDE, "testing", "mx.evil.test"),
        (Kind.OUTSIDE, "enforce", "mx.a.test"),  # the policy has changed since
    ],
)
def test_what_the_policy_does_not_ask_for_is_no_failure(kind: Kind, mode: str, host: str) -> None:
    label = sts_label(DOMAIN, policy(mode))
    assert count_unreported(session(kind, host), policy(mode), label, "v") is None


def test_mail_in_the_clear_where_no_policy_is_known_is_a_failure_under_none() -> None:
    counted = count_without_policy(session(), "v=TLSRPTv1; rua=mailto:a@a.test")
    assert counted == success(no_policy_label(DOMAIN))._replace(
        origin=Origin.LOG,
        successes=0,
        failures=1,
        details=(Detail(failure("starttls-not-supported"), 1),),
    )
    assert count_without_policy(session(Kind.OUTSIDE), "v") is None


def test_the_label_is_the_one_that_postfix_is_told() -> None:
    decision = Decision(Row.STS_TESTING, level=Level.MAY, policy=policy(), policy_domain=DOMAIN)
    answer = render(decision, Dialect.TLSRPT).decode()
    label = sts_label(DOMAIN, policy())
    assert all(f"{{ policy_string = {line} }}" in answer for line in label.policy_string)
    assert answer.count("policy_string") == len(label.policy_string)
    assert [word for word in answer.split() if word.startswith("mx_host_pattern=")] == [
        f"mx_host_pattern={name}" for name in label.mx_host
    ]


HOSTS = st.sampled_from(["mx.a.test", "mx.evil.test", "x.b.test"])


@given(st.lists(st.tuples(HOSTS, st.booleans()), max_size=30))
def test_corrections_never_change_how_many_sessions_there_were(sessions: list[tuple[str, bool]]) -> None:
    label = sts_label(DOMAIN, policy())
    tallies = []
    for host, is_bad in sessions:
        counted = success(label)
        met = session(Kind.TLS, host, counted)
        corrected = correct_signal(met)
        if corrected is None and is_bad:
            corrected = correct_verified(met, ResultType.CERTIFICATE_EXPIRED, "")
        tallies += [counted, corrected] if corrected else [counted]
    results = add_up((each.policy, each.successes, each.failures, each.details) for each in tallies)
    if sessions:
        summary = results[0].summary
        assert summary.total_successful_session_count is not None
        assert summary.total_failure_session_count == sum(
            detail.failed_session_count or 0 for detail in results[0].failure_details
        )
        assert summary.total_successful_session_count + (summary.total_failure_session_count or 0) == len(
            sessions
        )
    assert sum(each.successes for each in tallies) >= 0
