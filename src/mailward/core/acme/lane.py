"""How long a queue of orders takes at a CA that takes so many in so much time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

WINDOW = timedelta(hours=3)
"""Let's Encrypt's: 300 new orders in 3 hours."""


def last_order_at(placed: Sequence[datetime], waiting: int, limit: int, now: datetime) -> datetime:
    """When the last of `waiting` orders is placed; `placed`: when orders of the last WINDOW were.

    Each order takes the place of the one that was placed `limit` orders before.
    """
    if waiting <= 0:
        return now
    # what is placed later than now was so by a clock that was wrong
    recent = sorted(at for at in placed if now - WINDOW < at <= now + WINDOW)[-limit:]
    free = limit - len(recent)
    if waiting <= free:
        return now
    # from here on it goes in rounds: what is placed in one round has its place again a window later
    rounds, position = divmod(waiting - free - 1, limit)
    first = [*recent, *[now] * free]
    return first[position] + WINDOW * (rounds + 1)
