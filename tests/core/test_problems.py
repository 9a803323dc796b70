from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from mailward.core.problems import Evidence, Thresholds, is_gone, is_problem, last_settled, seems_gone

DAY = date(2026, 11, 20)
DEFAULT = Thresholds(min_reporters=2, min_sessions=10, min_percent=1.0)


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def seen(
    *reporters: str,
    failed: Mapping[str, int] | None = None,
    total: Mapping[str, int] | None = None,
    reported: Mapping[str, date] | None = None,
    report_days: tuple[date, ...] = (DAY,),
    domain_id: int = 1,
    settled_day: date = DAY + timedelta(days=9),
) -> Evidence:
    """`failed` and `total`: per policy type, all of the first reporter's."""
    reported = reported or dict.fromkeys(reporters, DAY)
    first = reporters[0]
    return Evidence(
        domain_id=domain_id,
        first_day=DAY,
        last_day=DAY,
        seen_by=frozenset(reporters),
        failed={(policy_type, first): number for policy_type, number in (failed or {"sts": 1}).items()},
        total={(policy_type, first): number for policy_type, number in (total or {"sts": 1000}).items()},
        reported=reported,
        settled={reporter: min(day, settled_day) for reporter, day in reported.items()},
        settled_day=settled_day,
        report_days=frozenset(report_days),
    )


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ([], False),  # nothing was seen
        ([seen("a.test")], False),  # one session of one reporter may be a blip
        ([seen("a.test", "b.test")], True),  # two who agree
        ([seen("a.test"), seen("a.test", domain_id=2)], False),  # the same reporter on two domains is one
        ([seen("a.test"), seen("b.test", domain_id=2)], True),  # two reporters, each of its own domain
        ([seen("a.test", failed={"sts": 10})], True),  # 10 of 1,000 is 1 %
        ([seen("a.test", failed={"sts": 9}, total={"sts": 9})], False),  # all of them, but few
        ([seen("a.test", failed={"sts": 10}, total={"sts": 1001})], False),  # many, but under 1 %
        (
            [seen("a.test", failed={"sts": 5}), seen("a.test", failed={"sts": 5}, domain_id=2)],
            False,
        ),  # 10 of 2,000
        (
            [
                seen("a.test", failed={"sts": 5}, total={"sts": 9}),
                seen("a.test", failed={"sts": 5}, domain_id=2),
            ],
            False,  # 10 of 1,009: the touched domains together
        ),
        (
            [seen("a.test", failed={"sts": 6, "tlsa": 6}, total={"sts": 20, "tlsa": 20})],
            False,  # they may be the same 6 sessions: 6, never 12
        ),
        (
            [seen("a.test", failed={"sts": 1, "tlsa": 12}, total={"sts": 10**6, "tlsa": 50})],
            True,
        ),  # tlsa alone
        ([seen("a.test", failed={"sts": 12}, total={"sts": 3})], True),  # a summary that claims too few
        (
            [seen("a.test", failed={"sts": 12}, total={"tlsa": 10**6})],
            True,
        ),  # sessions of another type do not dilute
        ([seen("a.test", reported={"a.test": after(1)}, report_days=(after(1),))], False),  # gone again
        (
            [seen("a.test", "b.test", reported={"a.test": after(1)}, report_days=(after(1),))],
            False,  # one sees it no more: the other one is left
        ),
        (
            [seen("a.test", "b.test", "c.test", reported={"c.test": after(1)}, report_days=(after(1),))],
            True,  # and speaks for nobody else
        ),
        (
            [
                seen(
                    "a.test",
                    "b.test",
                    failed={"sts": 12},
                    reported={"b.test": after(1)},
                    report_days=(after(1),),
                )
            ],
            True,
        ),
        (
            [
                seen(
                    "a.test",
                    "b.test",
                    failed={"sts": 12},
                    reported={"a.test": after(1)},
                    report_days=(after(1),),
                )
            ],
            False,  # what it told of counts no more
        ),
    ],
)
def test_a_cause_is_a_problem_above_the_thresholds(evidence: list[Evidence], expected: bool) -> None:
    assert is_problem(evidence, DEFAULT) is expected


def test_thresholds_of_one_session_tell_of_everything() -> None:
    assert is_problem([seen("a.test")], Thresholds(min_reporters=9, min_sessions=1, min_percent=0))


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (seen("a.test"), False),  # nobody has said anything since
        (
            seen("a.test", reported={"a.test": after(1)}, report_days=(DAY, after(1))),
            True,
        ),  # it sees it no more
        (
            seen("a.test", reported={"a.test": DAY, "b.test": after(2)}, report_days=(after(2),)),
            False,
        ),  # never saw it
        (
            seen("a.test", reported={"b.test": after(4)}, report_days=(after(1), after(2), after(4))),
            True,  # three days without it, gaps or not, whoever says so
        ),
        (
            seen(
                "a.test",
                reported={"b.test": after(2)},
                report_days=(after(-2), after(-1), after(1), after(2)),
            ),
            False,  # days before the failure do not count
        ),
    ],
)
def test_a_failure_is_gone_for_a_domain_when_later_reports_show_none(
    evidence: Evidence, expected: bool
) -> None:
    assert is_gone(evidence) is expected
    assert seems_gone(evidence) is expected


def test_one_of_those_who_saw_it_ends_a_problem_and_keeps_none_from_beginning() -> None:
    evidence = seen("a.test", "b.test", reported={"a.test": DAY, "b.test": after(1)}, report_days=(after(1),))
    assert (is_gone(evidence), seems_gone(evidence)) == (True, False)


def test_a_day_of_which_more_reports_may_come_shows_nothing_gone() -> None:
    own = seen("a.test", reported={"a.test": after(1)}, report_days=(after(1),), settled_day=DAY)
    days = (after(1), after(2), after(3))
    others = seen("a.test", reported={"b.test": after(3)}, report_days=days, settled_day=after(2))
    for evidence in (own, others):
        assert (is_gone(evidence), seems_gone(evidence)) == (False, True)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2026, 11, 22, 0, 0, tzinfo=UTC), DAY),
        (datetime(2026, 11, 21, 23, 59, tzinfo=UTC), DAY - timedelta(days=1)),
    ],
)
def test_a_day_settles_24_hours_after_its_end(now: datetime, day: date) -> None:
    assert last_settled(now) == day


def test_failed_sessions_of_a_domain_are_those_of_the_type_with_the_most() -> None:
    assert seen("a.test", failed={"sts": 6, "tlsa": 8}).sessions == 8
