from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from mailward.core.names import parse_domain
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.sender.counts import Counts, CountsError

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
    assert [each.domain for each in counts.read_day(DAY)] == ["a.example", "shop.example"]
    counts.forget(DAY)
    assert counts.days() == [next_day]
    assert sums(counts, next_day) == {"sts": (2, 0)}


def test_a_batch_that_fails_counts_nothing(counts: Counts) -> None:
    with pytest.raises(CountsError):
        counts.add([tally(1), tally(2**70)])
    assert counts.days() == []


def test_what_is_counted_is_there_for_another_process(counts: Counts, tmp_path: Path) -> None:
    counts.add([tally(1)])
    other = Counts(tmp_path / "counts.sqlite3")
    assert sums(other) == {"sts": (1, 0)}
    other.close()
