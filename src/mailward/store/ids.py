"""Identifiers that we make before the row exists: sortable by time, unique without asking the database.

63 bits: milliseconds since 2025 (41 bits, until 2094), then 22 bits that start at random in each
millisecond and count up within a process.
"""

import secrets
import threading
from datetime import UTC, datetime

from mailward.net import clock

_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 22
_MASK = (1 << _RANDOM_BITS) - 1

_lock = threading.Lock()
_last = 0


def new_id() -> int:
    """A fresh identifier, larger than any this process made before."""
    return new_ids(1).start


def new_ids(number: int) -> range:
    """As many fresh identifiers in a row."""
    global _last  # noqa: PLW0603 - one counter a process is the point
    milliseconds = _milliseconds(clock.now())
    with _lock:
        if milliseconds > _last >> _RANDOM_BITS:
            # the upper half of the random range stays free for counting up within the millisecond
            first = (milliseconds << _RANDOM_BITS) | secrets.randbelow(_MASK // 2)
        else:
            first = _last + 1
        _last = first + number - 1
        return range(first, first + number)


def first_id_at(moment: datetime) -> int:
    """The smallest identifier made at `moment`: what arrived since then has this one or a larger."""
    return _milliseconds(moment) << _RANDOM_BITS


def _milliseconds(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds() * 1000)
