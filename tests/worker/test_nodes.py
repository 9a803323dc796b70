"""Several nodes on one database: regular work is done by one of them, and by none whose clock is wrong."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync

from mailward.net import clock
from mailward.store.services.turns import MAX_SKEW, is_ours, seconds_ahead
from mailward.worker.clocks import ClockCheck

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
HOUR = timedelta(hours=1)


def test_of_two_nodes_one_does_it_in_each_period() -> None:
    start = clock.now()
    turns = []
    for minutes in (0, 1, 59, 60, 61, 120):
        with clock.frozen(start + timedelta(minutes=minutes)):
            turns.append((is_ours("sweep", HOUR), is_ours("sweep", HOUR)))
    once, never = (True, False), (False, False)
    # a tenth early counts: the nodes' timers do not tick together
    assert turns == [once, never, once, never, never, once]


def test_a_clock_that_was_ahead_holds_nothing_up() -> None:
    with clock.frozen(clock.now() + timedelta(days=300)):
        assert is_ours("sweep", HOUR)
    assert is_ours("sweep", HOUR)
    assert is_ours("other", HOUR)


def test_the_database_tells_how_wrong_the_clock_is() -> None:
    assert abs(seconds_ahead()) < 1
    with clock.frozen(clock.now() + timedelta(minutes=2)):
        assert 119 < seconds_ahead() < 121


def test_a_node_whose_clock_is_wrong_takes_no_work_until_it_is_right(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailward.worker.clocks.PAUSE_SECONDS", 0.0)
    check = ClockCheck()
    with clock.frozen(clock.now() - MAX_SKEW * 2):
        assert async_to_sync(check.agrees)() is False
    assert async_to_sync(check.agrees)() is True
    assert [record.getMessage() for record in caplog.records if "clock" in record.message] == [
        "clock-differs"
    ]
