"""Identifiers that we make before the row exists: sortable by time, unique without asking the database.

63 bits: milliseconds since 2025 (41 bits, until 2094), then 22 bits that start at random in each millisecond and
count up within a process.
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
    global _last  # noqa: PLW0603 - one counter a process is the point
    milliseconds = int((clock.now() - _EPOCH).total_seconds() * 1000)
    # the upper half of the random range stays free for counting up within the millisecond
    candidate = (milliseconds << _RANDOM_BITS) | secrets.randbelow(_MASK // 2)
    with _lock:
        _last = max(_last + 1, candidate)
        return _last
