"""How a queue of orders goes at a CA that takes so many in so much time, and whose turn it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=3)
"""Let's Encrypt's: 300 new orders in 3 hours."""
LOOK_AGAIN = timedelta(hours=1)
"""Whoever waits looks that often whether it is its turn: others may have left the line."""
IDLE = timedelta(minutes=10)
"""A place that nobody took for so long is for anybody."""


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits for a place besides one name."""

    before: int
    """They come first: for a renewal those whose certificates end sooner; for a new name all renewals, and the new
    names that have waited longer.
    """
    coming: int = 0
    """Renewals that become due within WINDOW; a new name leaves them places. Not told of a renewal."""


def turn_at(placed: Sequence[datetime], line: Line, limit: int, now: datetime) -> datetime:
    """When one name may order, or looks again: not later than `now` where it is its turn. `placed`: when orders of the
    last WINDOW and IDLE were.
    """
    recent, kept = _recent(placed, limit, now), min(line.coming, limit // 5)
    free = limit - len(recent)
    if free > line.before + kept:
        return now
    moments = (now - at for at in placed)
    if free > kept and not any(age < IDLE or WINDOW <= age < WINDOW + IDLE for age in moments):
        return now  # those before it do not come: something else keeps them
    return min(last_order_at(placed, line.before + kept + 1, limit, now), now + LOOK_AGAIN)


def last_order_at(placed: Sequence[datetime], waiting: int, limit: int, now: datetime) -> datetime:
    """When the last of `waiting` orders is placed; `placed`: when orders of the last WINDOW were.

    Each order takes the place of the one that was placed `limit` orders before.
    """
    if waiting <= 0:
        return now
    recent = _recent(placed, limit, now)
    free = limit - len(recent)
    if waiting <= free:
        return now
    # from here on it goes in rounds: what is placed in one round has its place again a window later
    rounds, position = divmod(waiting - free - 1, limit)
    first = [*recent, *[now] * free]
    return first[position] + WINDOW * (rounds + 1)


def _recent(placed: Sequence[datetime], limit: int, now: datetime) -> list[datetime]:
    # what is placed later than now was so by a clock that was wrong
    return sorted(at for at in placed if now - WINDOW < at <= now + WINDOW)[-limit:]
