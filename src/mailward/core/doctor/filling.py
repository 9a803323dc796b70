"""When a disk will be full, judged from how its free space went in the last days."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

KEPT = timedelta(days=7)
"""What is older says nothing of today."""
_LEAST = timedelta(days=2)
"""Of less, the nightly backup, which comes and goes, is all that can be seen."""
_MAX_POINTS = 100
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Room:
    """Of a disk at one time, in octets."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    free: int
    whole: int


@dataclass(frozen=True, slots=True)
class Filling:
    """It becomes fuller."""

    octets_a_day: float
    days_left: float
    days_seen: float


def judge_filling(rooms: Sequence[Room], now: Room) -> Filling | None:
    """None: it does not become fuller, or has not been seen for long enough.

    The smaller of the growths of the whole time and of its later half, so that one large file in the middle is none.
    """
    seen = _comparable(rooms, now)
    span = seen[-1].at - seen[0].at
    if span < _LEAST:
        return None
    middle = seen[0].at + span / 2
    growth = min(_growth(seen), _growth([each for each in seen if each.at >= middle]))
    if growth <= 0:
        return None
    return Filling(growth, now.free / growth, span.total_seconds() / _DAY_SECONDS)


def _growth(rooms: list[Room]) -> float:
    """Octets a day: the median between all pairs (Theil and Sen), which what comes and goes does not move."""
    slopes = [
        (first.free - second.free) / ((second.at - first.at).total_seconds() / _DAY_SECONDS)
        for first, second in itertools.combinations(_thinned(rooms), 2)
        if second.at > first.at
    ]
    return statistics.median(slopes) if slopes else 0.0


def _comparable(rooms: Sequence[Room], now: Room) -> list[Room]:
    """In order; from before the disk was made larger, and from a clock that was wrong, there is nothing to learn."""
    found = [now]
    for each in sorted(rooms, key=lambda room: room.at, reverse=True):
        if each.at > now.at:
            continue
        if each.whole != now.whole or now.at - each.at > KEPT:
            break
        found.append(each)
    return found[::-1]


def _thinned(rooms: list[Room]) -> list[Room]:
    step = -(-len(rooms) // _MAX_POINTS)
    return [*rooms[:-1:step], rooms[-1]]
