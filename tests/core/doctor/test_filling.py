from datetime import UTC, datetime, timedelta

import pytest

from mailward.core.doctor.filling import Room, judge_filling

START = datetime(2026, 11, 1, tzinfo=UTC)
GIB = 2**30


def rooms(*free: float, hours: float = 24.0, whole: int = 100) -> list[Room]:
    return [
        Room(START + timedelta(hours=hours * number), int(each * GIB), whole * GIB)
        for number, each in enumerate(free)
    ]


def days_left(seen: list[Room]) -> float | None:
    filling = judge_filling(seen[:-1], seen[-1])
    return None if filling is None else round(filling.days_left, 1)


@pytest.mark.parametrize(
    ("seen", "left"),
    [
        (rooms(50, 48, 46, 44), 22.0),
        (rooms(50, 50, 50, 50), None),
        (rooms(44, 46, 48, 50), None),
        (rooms(50, 40), None),
        (rooms(50, 40, 30, hours=12), None),
        (rooms(), None),
        # a backup of 20 that is there for half a day, each day
        (
            rooms(*[60 - day + (0 if day * 2 % 2 else -20) for day in (0, 0.5, 1, 1.5, 2, 2.5, 3)], hours=12),
            37.0,
        ),
        # one large file, once
        (rooms(*[50] * 4, *[30] * 4), None),
        # made larger yesterday
        ([*rooms(9, 8, 7, 6), *rooms(0, 0, 0, 0, 60, 59, 58, whole=200)[4:]], 58.0),
        # longer ago than a week it was another life
        (rooms(90, 60, *[50] * 9), None),
    ],
    ids=[
        "grows",
        "stays",
        "shrinks",
        "a day",
        "a day, often",
        "nothing",
        "a backup a day",
        "a step",
        "larger",
        "long ago",
    ],
)
def test_when_it_is_full(seen: list[Room], left: float | None) -> None:
    if not seen:
        assert judge_filling([], Room(START, GIB, GIB)) is None
        return
    assert days_left(seen) == left


def test_what_a_clock_in_the_future_noted_is_left_out() -> None:
    seen = rooms(50, 48, 46, 44)
    wrong = Room(START + timedelta(days=900), 99 * GIB, 100 * GIB)
    assert judge_filling([wrong, *seen[:-1]], seen[-1]) == judge_filling(seen[:-1], seen[-1])
