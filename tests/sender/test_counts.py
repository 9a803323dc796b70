import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from mailward.core.names import parse_domain
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.sender.counts import MAX_DAYS, Counts, CountsError, Oddity, Part
from mailward.sender.countswriter import Limits

FIXTURES = Path(__file__).parents[1] / "fixtures" / "stores"
DAY = date(2026, 11, 27)
SHOP = parse_domain("shop.example")
RECORD = "v=TLSRPTv1; rua=mailto:tls@shop.example"
STS = Policy(policy_type="sts", policy_domain="shop.example", policy_string=("version: STSv1",))
TLSA = Policy(policy_type="tlsa", policy_domain="mx.shop.example", policy_string=("3 1 1 AA",))
EXPIRED = FailureDetail(result_type="certificate-expired", receiving_mx_hostname="mx.shop.example")


@pytest.fixture
def counts(tmp_path: Path) -> Iterator[Counts]:
    made = Counts(tmp_path / "counts.sqlite3")
    yield made
    made.close()


def tally(
    successes: int = 0,
    failures: int = 0,
    *,
    policy: Policy = STS,
    record: str = RECORD,
    origin: Origin = Origin.DATAGRAM,
    day: date = DAY,
    domain: str = "shop.example",
    details: tuple[Detail, ...] = (),
) -> Tally:
    return Tally(day, parse_domain(domain), record, policy, origin, successes, failures, details)


def sums(counts: Counts, day: date = DAY) -> dict[str, tuple[int | None, int | None]]:
    found = counts.read_domain(day, SHOP)
    assert found is not None
    return {
        str(each.policy.policy_type): (
            each.summary.total_successful_session_count,
            each.summary.total_failure_session_count,
        )
        for each in found.results
    }


def test_sessions_add_up_over_commits_and_origins(counts: Counts) -> None:
    counts.add([tally(2), tally(1, 1, details=(Detail(EXPIRED, 1),))])
    counts.add([tally(0, 3, origin=Origin.LOG, details=(Detail(EXPIRED, 3),))])
    found = counts.read_domain(DAY, SHOP)
    assert found is not None
    assert sums(counts) == {"sts": (3, 4)}
    [detail] = found.results[0].failure_details
    assert (detail.result_type, detail.failed_session_count) == ("certificate-expired", 4)


def test_policy_types_stand_side_by_side(counts: Counts) -> None:
    counts.add([tally(2), tally(5, policy=TLSA)])
    assert sums(counts) == {"sts": (2, 0), "tlsa": (5, 0)}


def test_a_later_word_takes_back_what_was_counted(counts: Counts) -> None:
    counts.add([tally(2)])
    counts.add([tally(-1, 1, origin=Origin.PROBE, details=(Detail(EXPIRED, 1),))])
    assert sums(counts) == {"sts": (1, 1)}


def test_the_record_seen_last_is_the_one_of_the_day(counts: Counts) -> None:
    other = "v=TLSRPTv1; rua=mailto:new@shop.example"
    counts.add([tally(1, record=other)])
    counts.add([tally(1)])
    counts.add([tally(1, record=other)])
    found = counts.read_domain(DAY, SHOP)
    assert found is not None
    assert found.record == other
    assert sums(counts) == {"sts": (3, 0)}


def test_days_are_read_apart_and_forgotten(counts: Counts) -> None:
    next_day = date(2026, 11, 28)
    counts.add([tally(1), tally(2, day=next_day), tally(4, domain="a.example")])
    assert counts.days() == [DAY, next_day]
    assert [each.domain for each in counts.read_part(counts.parts()[0])] == ["a.example", "shop.example"]
    counts.forget(DAY)
    assert counts.days() == [next_day]
    assert sums(counts, next_day) == {"sts": (2, 0)}


def test_what_comes_after_a_part_is_closed_is_in_the_next_one(counts: Counts, tmp_path: Path) -> None:
    counts.add([tally(1)])
    [part] = counts.parts()
    reporter = Counts(tmp_path / "counts.sqlite3")
    reporter.close_part(part)
    counts.add([tally(2, 1, details=(Detail(EXPIRED, 1),))])
    reporter.close_part(part)  # again, after a crash
    counts.add([tally(4)])
    assert counts.parts() == [Part(DAY, 0, is_open=False), Part(DAY, 1, is_open=True)]
    found = [
        [each.results[0].summary.total_successful_session_count for each in reporter.read_part(part)]
        for part in reporter.parts()
    ]
    assert found == [[1], [6]]
    assert sums(counts) == {"sts": (7, 1)}
    reporter.forget(DAY)
    counts.add([tally(8)])
    assert counts.parts() == [Part(DAY, 1, is_open=True)], "it is known that it was reported"
    reporter.close()


def test_the_correction_of_a_success_that_was_reported_adds_no_session(counts: Counts) -> None:
    counts.add([tally(3)])
    [part] = counts.parts()
    counts.close_part(part)
    plain = FailureDetail(result_type="starttls-not-supported")
    counts.add([tally(-2, 3, origin=Origin.LOG, details=(Detail(plain, 1), Detail(EXPIRED, 2)))])
    [found] = counts.read_part(counts.parts()[1])
    [result] = found.results
    assert (result.summary.total_successful_session_count, result.summary.total_failure_session_count) == (
        0,
        1,
    )
    assert [each.result_type for each in result.failure_details] == ["starttls-not-supported"]


def test_counts_of_the_version_before_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    old = sqlite3.connect(path)
    old.executescript((FIXTURES / "counts-1.sql").read_text())
    old.close()
    counts = Counts(path)
    assert sums(counts) == {"sts": (3, 2)}
    counts.add([tally(1, policy=TLSA)])
    assert sums(counts) == {"sts": (3, 2), "tlsa": (1, 0)}
    counts.close()


def test_counts_that_nobody_reports_are_kept_for_sixty_days(counts: Counts) -> None:
    for number in range(MAX_DAYS + 40):
        counts.add([tally(1, day=DAY + timedelta(days=number))])
    counts.add([tally(1, day=DAY + timedelta(days=number))])
    assert counts.days() == [DAY + timedelta(days=40 + n) for n in range(MAX_DAYS)]
    ahead = DAY + timedelta(days=9999)  # a clock that is wrong costs one day at most
    for _ in range(3):
        counts.add([tally(1, day=ahead)])
    assert len(counts.days()) == MAX_DAYS
    assert counts.days()[-1] == ahead


def test_a_batch_that_fails_counts_nothing(counts: Counts) -> None:
    with pytest.raises(CountsError):
        counts.add([tally(1), tally(2**70)])
    assert counts.days() == []


def test_what_is_counted_is_there_for_another_process(counts: Counts, tmp_path: Path) -> None:
    counts.add([tally(1)])
    other = Counts(tmp_path / "counts.sqlite3")
    assert sums(other) == {"sts": (1, 0)}
    other.close()


def failure(number: int, *, reason: str = "") -> FailureDetail:
    return FailureDetail(
        result_type="validation-failure",
        receiving_mx_hostname="mx.shop.example",
        receiving_ip=f"192.0.2.{number}",
        failure_reason_code=reason or f"reason {number}",
    )


def bounded(tmp_path: Path, limits: Limits) -> Counts:
    return Counts(tmp_path / "bounded.sqlite3", limits=limits)


def test_too_many_different_failures_are_counted_less_exactly(tmp_path: Path) -> None:
    counts = bounded(tmp_path, Limits(details=4))
    for number in range(12):
        counts.add([tally(0, 1, details=(Detail(failure(number), 1),))])
    counts.add([tally(0, 5, details=(Detail(failure(0), 5),))])  # one that has its place keeps it
    found = counts.read_domain(DAY, SHOP)
    assert found is not None
    details = found.results[0].failure_details
    assert found.results[0].summary.total_failure_session_count == 17
    assert sum(each.failed_session_count or 0 for each in details) == 17
    assert len([each for each in details if each.failure_reason_code]) == 4
    assert len([each for each in details if each.receiving_ip and not each.failure_reason_code]) == 2
    assert len(details) == 4 + 2 + 1
    assert found.cut == 8
    counts.close()


def test_a_domain_with_endless_policies_keeps_its_sessions(tmp_path: Path) -> None:
    counts = bounded(tmp_path, Limits(rows=10))
    policies = [
        Policy(policy_type="sts", policy_domain="shop.example", policy_string=(f"{n}",)) for n in range(50)
    ]
    counts.add([tally(1, policy=each, record=f"{RECORD}?{n}") for n, each in enumerate(policies)])
    found = counts.read_domain(DAY, SHOP)
    assert found is not None
    assert len(found.results) == 11
    assert sum(each.summary.total_successful_session_count or 0 for each in found.results) == 50
    counts.close()


def test_domains_beyond_the_bound_are_refused_and_known_ones_are_not(tmp_path: Path) -> None:
    counts = bounded(tmp_path, Limits(domains=3))
    refused = counts.add([tally(2, domain=f"d{n}.example") for n in range(5)])
    assert refused == 4
    assert counts.add([tally(1, domain="d0.example"), tally(1, domain="d4.example")]) == 1
    assert [each.domain for each in counts.read_part(counts.parts()[0])] == [
        "d0.example",
        "d1.example",
        "d2.example",
    ]
    assert counts.add([tally(1, day=date(2026, 11, 28))]) == 0, "another day has room of its own"
    counts.close()


def test_bounds_hold_across_restarts(tmp_path: Path) -> None:
    limits = Limits(domains=2, details=2)
    for number in range(6):
        counts = bounded(tmp_path, limits)
        counts.add([tally(0, 1, domain=f"d{number}.example", details=(Detail(failure(number), 1),))])
        counts.add([tally(0, 1, domain="d0.example", details=(Detail(failure(number), 1),))])
        counts.close()
    counts = bounded(tmp_path, limits)
    found = list(counts.read_part(counts.parts()[0]))
    assert [each.domain for each in found] == ["d0.example", "d1.example"]
    assert len(found[0].results[0].failure_details) == 2 + 1 + 1
    counts.close()


def test_what_another_process_has_forgotten_is_not_named_by_its_old_number(
    counts: Counts, tmp_path: Path
) -> None:
    counts.add([tally(1, details=(Detail(EXPIRED, 1),))])
    other = Counts(tmp_path / "counts.sqlite3")
    other.forget(DAY)
    next_day = date(2026, 11, 28)
    counts.add([tally(0, 1, day=next_day, details=(Detail(EXPIRED, 1),))])
    found = other.read_domain(next_day, SHOP)
    assert found is not None
    assert found.record == RECORD
    assert [each.result_type for each in found.results[0].failure_details] == ["certificate-expired"]
    other.close()


def test_details_without_a_failed_session_are_read_too(counts: Counts) -> None:
    counts.add([tally(1), tally(0, 0, origin=Origin.DISCOVERY, details=(Detail(EXPIRED, 1),))])
    found = counts.read_domain(DAY, SHOP)
    assert found is not None
    assert sums(counts) == {"sts": (1, 0)}
    assert [each.failed_session_count for each in found.results[0].failure_details] == [1]


def test_samples_of_what_cannot_be_read_are_few(counts: Counts) -> None:
    counts.keep_oddities(
        [Oddity(n, "damaged", "no datagram", b"x" * 20_000 + b"%d" % n, 1) for n in range(3)]
    )
    counts.keep_oddities([Oddity(10 + n, "damaged", "no datagram", b"%d" % n, 2) for n in range(300)])
    counts.keep_oddities([Oddity(500, "damaged", "no datagram", b"299", 2)])
    found = counts.oddities()
    assert len(found) == 200
    assert found[0] == Oddity(500, "damaged", "no datagram", b"299", 4)
    assert all(len(each.content) <= 8192 for each in found)
