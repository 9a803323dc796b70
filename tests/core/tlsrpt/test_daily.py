from datetime import date

import pytest

from mailward.core.names import Domain
from mailward.core.tlsrpt.counting import DomainDay
from mailward.core.tlsrpt.daily import Reporter, cut_details, make_report, make_report_id
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import check_strict
from mailward.core.tlsrpt.schema import FailureDetail, Policy, PolicyResult, Report, Summary
from mailward.core.tlsrpt.write import serialise_report

DAY, SHOP = date(2026, 11, 27), Domain("shop.example")
US = Reporter("Sender Ltd", "tls@sender.example")


def day(*details: FailureDetail, policy: Policy | None = None, failures: int = 1) -> DomainDay:
    policy = policy or Policy(policy_type="sts", policy_domain=SHOP, policy_string=("version: STSv1",))
    summary = Summary(total_successful_session_count=1, total_failure_session_count=failures)
    return DomainDay(DAY, SHOP, "", (PolicyResult(policy=policy, summary=summary, failure_details=details),))


def report_of(counted: DomainDay) -> Report:
    report = make_report(counted, US)
    assert report is not None
    return report


def only_detail(**fields: object) -> FailureDetail:
    report = report_of(day(FailureDetail(failed_session_count=1, **fields)))  # type: ignore[arg-type]
    assert check_strict(read_bytes(serialise_report(report))) == ()
    [detail] = report.policies[0].failure_details
    return detail


REASONS = [
    # result type, reason -> the same in the report
    ("certificate-expired", None, "certificate-expired", None),
    ("certificate-not-trusted", None, "certificate-not-trusted", "no-reason-given"),
    ("validation-failure", None, "validation-failure", "no-reason-given"),
    ("validation-failure", "tls-handshake-failure", "validation-failure", "tls-handshake-failure"),
    ("made-up-by-us", None, "validation-failure", "made-up-by-us"),
    ("made-up-by-us", "why", "validation-failure", "why"),
    (None, None, "validation-failure", "no-reason-given"),
]


@pytest.mark.parametrize("kind, reason, reported, said", REASONS)
def test_g8_the_registered_types_with_a_reason_beside_the_vague_ones(
    kind: str | None, reason: str | None, reported: str, said: str | None
) -> None:
    detail = only_detail(result_type=kind, failure_reason_code=reason)
    assert (detail.result_type, detail.failure_reason_code) == (reported, said)


def test_what_strangers_say_is_one_bounded_line() -> None:
    helo = "mx.shop.example\r\nPIPELINING\r\n" + "\u202e" + "x" * 100_000
    detail = only_detail(result_type="certificate-expired", receiving_mx_helo=helo)
    assert detail.receiving_mx_helo is not None
    assert detail.receiving_mx_helo.startswith("mx.shop.example PIPELINING xxx")
    assert len(detail.receiving_mx_helo) == 255


@pytest.mark.parametrize("text", ["javascript:alert(1)", "no link", "https://x.example/ \n"])
def test_additional_information_that_is_no_link_becomes_the_reason(text: str) -> None:
    detail = only_detail(result_type="certificate-expired", additional_information=text)
    assert (detail.additional_information, detail.failure_reason_code) == (None, text.strip())


def test_what_is_put_together_adds_up_and_says_so() -> None:
    details = [
        FailureDetail(result_type=kind, receiving_mx_helo=str(number), failed_session_count=number + 1)
        for kind in ("certificate-expired", "validation-failure")
        for number in reversed(range(50))
    ]
    details.sort(key=lambda detail: -(detail.failed_session_count or 0))
    report, cut = cut_details(report_of(day(*details, failures=2550)), 10)
    kept = report.policies[0].failure_details
    assert sum(each.failed_session_count or 0 for each in kept) == 2550
    assert [each.failure_reason_code for each in kept[10:]] == ["details-put-together"] * 2
    assert cut == sum(each.failed_session_count or 0 for each in kept[10:])
    assert check_strict(read_bytes(serialise_report(report))) == ()


def test_an_id_is_that_of_day_domain_and_reporter() -> None:
    ids = {
        make_report_id(DAY, "a.example", US),
        make_report_id(DAY, "b.example", US),
        make_report_id(date(2026, 11, 28), "a.example", US),
        make_report_id(DAY, "a.example", Reporter("Sender Ltd", "tls@other.example")),
    }
    assert len(ids) == 4
    assert make_report_id(DAY, "a.example", Reporter("Sender Ltd", US.contact, "b")) not in ids
    assert make_report_id(DAY, "a.example", Reporter("Renamed", "new@sender.example")) in ids
