import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.mtasts.decide import (
    Absent,
    BackOff,
    Cached,
    Expired,
    Failure,
    Fetch,
    Refresh,
    Step,
    Use,
    decide,
)
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.mtasts.record import Record

DAY = 86_400
T = 1_700_000_000
WEEK = Policy(Mode.ENFORCE, 7 * DAY, ("mx.example.com",))
OLD = Cached(WEEK, "1", T)
ONE, TWO = Record("1"), Record("2")
FAILED = Failure("1", T, 1, "timeout")

STEPS: list[tuple[Cached | None, Record | None, Failure | None, int, Step, str]] = [
    (None, None, None, T, Absent(), "sts-s02: not implemented"),
    (None, ONE, None, T, Fetch("1"), "sts-s01: first contact"),
    (None, ONE, FAILED, T + 299, BackOff(T + 300, "timeout"), "sts-s04, S8: five minutes after a failure"),
    (None, ONE, FAILED, T + 300, Fetch("1"), "S8: and not longer"),
    (None, TWO, FAILED, T + 60, Fetch("2"), "S8: the pause is for one id"),
    (
        None,
        TWO,
        FAILED,
        T + 59,
        BackOff(T + 60, "timeout"),
        "ids that change all the time do not make us fetch",
    ),
    (None, ONE, Failure("1", T + DAY, 1), T, Fetch("1"), "a failure noted while the clock was ahead"),
    (
        OLD,
        ONE,
        Failure("1", T + 9 * DAY, 1),
        T + DAY,
        Refresh(WEEK, "the daily refresh is due"),
        "the same of a live policy",
    ),
    (OLD, ONE, None, T + 100, Use(WEEK), "sts-s10: same id, nothing due"),
    (OLD, TWO, None, T + 100, Refresh(WEEK, "the id changed from 1 to 2"), "sts-s11: any change counts"),
    (OLD, None, None, T + 100, Use(WEEK), "sts-s13, S3: a record that is gone removes nothing"),
    (OLD, None, None, T + DAY, Refresh(WEEK, "the daily refresh is due"), "S12: whatever the record says"),
    (
        OLD,
        ONE,
        None,
        T + DAY,
        Refresh(WEEK, "the daily refresh is due"),
        "S12: an unchanged id extends nothing",
    ),
    (OLD, TWO, Failure("2", T + 100, 1), T + 399, Use(WEEK), "S8 while a policy is live"),
    (
        OLD,
        ONE,
        None,
        T + 7 * DAY - 1,
        Refresh(WEEK, "the daily refresh is due"),
        "S11: live to its last second",
    ),
    (OLD, None, None, T + 7 * DAY, Expired(), "sts-s17: an ended policy does not bind"),
    (OLD, ONE, None, T + 7 * DAY, Fetch("1"), "ended, but announced again"),
    (OLD, ONE, Failure("1", T + 7 * DAY, 1, "x"), T + 7 * DAY, BackOff(T + 7 * DAY + 300, "x"), "sts-s19"),
]


@pytest.mark.parametrize("cached, record, failure, now, step, reason", STEPS, ids=[row[5] for row in STEPS])
def test_what_to_do_about_a_policy(
    cached: Cached | None, record: Record | None, failure: Failure | None, now: int, step: Step, reason: str
) -> None:
    assert decide(cached, record, failure, now, 0.0) == step


def test_a_year_is_the_longest_life() -> None:
    cached = Cached(Policy(Mode.ENFORCE, 9_999_999_999, ("mx.example.com",)), "1", T)
    assert cached.expires_at == T + 31_557_600  # RFC 8461 section 3.2


def test_max_age_zero_is_no_fetch_a_message() -> None:
    assert Cached(Policy(Mode.ENFORCE, 0, ("mx.example.com",)), "1", T).expires_at == T + 300


def test_jitter_brings_a_refresh_forward_never_back() -> None:
    assert [OLD.refresh_at(jitter) - T for jitter in (0.0, 0.5, 1.0)] == [DAY, 75_600, 64_800]


def test_a_short_policy_is_refreshed_at_half_its_life() -> None:
    short = Cached(Policy(Mode.ENFORCE, 3600, ("mx.example.com",)), "1", T)
    assert short.refresh_at(0.0) == T + 1800


def test_pauses_double_up_to_six_hours() -> None:
    pauses = [Failure("1", T, count).retry_at("1") - T for count in (1, 2, 3, 9, 10**6)]
    assert pauses == [300, 600, 1200, 21600, 21600]


records = st.none() | st.sampled_from([ONE, TWO])
failures = st.none() | st.builds(
    Failure, st.sampled_from(["", "1", "2"]), st.integers(T, T + 30 * DAY), st.integers(1, 99)
)


@given(records, failures, st.integers(T - DAY, T + 7 * DAY - 1), st.floats(0, 1))
def test_a_live_policy_always_applies(
    record: Record | None, failure: Failure | None, now: int, jitter: float
) -> None:
    step = decide(OLD, record, failure, now, jitter)
    assert isinstance(step, Use | Refresh)
    assert step.policy == WEEK
