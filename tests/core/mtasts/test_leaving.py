"""RFC 8461 section 8.3: when record and policy may go."""

from datetime import UTC, datetime, timedelta

from mailward.core.mtasts.leaving import Plan, Served, Stage, plan

DAY = timedelta(days=1)
T0 = datetime(2026, 11, 1, tzinfo=UTC)
WEEK, YEAR = 7 * 86_400, 365 * 86_400


def test_p13_nothing_is_due_before_every_host_serves_none() -> None:
    assert plan([Served(WEEK, T0)], None, T0 + 400 * DAY) == Plan(Stage.SERVE, None)


def test_p13_the_last_policy_is_waited_out_from_when_it_was_last_served() -> None:
    found = plan([Served(WEEK, None)], T0 + 2 * DAY, T0 + 3 * DAY)
    assert found == Plan(Stage.WAIT, T0 + 9 * DAY)
    assert plan([Served(WEEK, None)], T0 + 2 * DAY, T0 + 9 * DAY).stage is Stage.REMOVE


def test_p13_an_older_policy_with_a_greater_max_age_counts() -> None:
    versions = [Served(YEAR, T0), Served(WEEK, None)]
    assert plan(versions, T0 + 100 * DAY, T0 + 101 * DAY).wait_until == T0 + 365 * DAY


def test_p13_an_older_policy_that_a_host_may_have_served_to_the_end_is_waited_out_from_the_end() -> None:
    versions = [Served(30 * 86_400, None), Served(WEEK, None)]
    assert plan(versions, T0, T0).wait_until == T0 + 30 * DAY


def test_p13_an_older_one_that_has_ended_does_not() -> None:
    versions = [Served(YEAR, T0 - 500 * DAY), Served(WEEK, T0)]
    assert plan(versions, T0, T0).wait_until == T0 + 7 * DAY


def test_p13_none_itself_is_waited_for_where_nothing_was_before() -> None:
    assert plan([], T0, T0).wait_until == T0 + DAY


def test_p13_it_is_over_once_the_records_are_gone_and_not_before_the_wait_is() -> None:
    assert plan([Served(WEEK, T0)], T0, T0 + DAY, are_gone=True).stage is Stage.WAIT
    assert plan([Served(WEEK, T0)], T0, T0 + 7 * DAY, are_gone=True).stage is Stage.DONE
