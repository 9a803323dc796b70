"""Whether the clock can be believed that a day has ended: what is reported cannot be taken back.

A clock that is set while we run, or was set while we did not, is seen by what the machine has run since its start,
which nobody sets. Where the machine was off, that is no help: it may have been off for days. Then the kernel says
whether its clock is kept in step with the world's (NTP), and where it is not, a machine that has just started has time
to find out.
"""

import logging
import math
from datetime import date
from pathlib import Path
from typing import NamedTuple

from mailward.net import clock
from mailward.net.kernelclock import is_synchronised
from mailward.sender.reportrows import SeenClock
from mailward.sender.reportstore import ReportStore

logger = logging.getLogger("mailward.sender")

JUMP_SECONDS = 600
OFF_SECONDS = 86_400
"""So long a machine may have been off without a word about its clock."""
DOUBT_SECONDS = 6 * 3600
"""So long a clock that went ahead is not believed until the kernel calls it synchronised; then whoever wanted to set
it right has had time.
"""
SAVE_SECONDS = 600
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Hold(NamedTuple):
    until: float
    """In seconds since the machine was started."""
    is_doubt: bool = False
    """Whether a clock that is synchronised ends it."""
    reason: str = ""
    """Of one that begins."""


_NONE = _Hold(-math.inf)


class ClockWatch:
    def __init__(self, store: ReportStore, hold_seconds: float) -> None:
        """`hold_seconds`: how long a clock that was set must stand."""
        self._store, self._hold_seconds = store, hold_seconds
        self._boot = _read_boot()
        self._last: SeenClock | None = None
        self._saved_at = -math.inf
        self._early: frozenset[date] = frozenset()

    def is_settled(self) -> bool:
        """False: no day is to be made now. Raises StoreError."""
        at, wall = clock.since_boot(), clock.now().timestamp()
        last = self._last or self._store.seen_clock()
        hold = _NONE if last is None else self._judge(last, at, wall)
        if hold.reason:
            seconds = int(_drift(last, at, wall)) if last is not None else 0
            facts = {"seconds": seconds, "hold_seconds": int(hold.until - at)}
            logger.warning(hold.reason, extra=facts)
        self._last = SeenClock(self._boot, at, wall, hold.until, hold.is_doubt)
        if hold.reason or at >= self._saved_at + SAVE_SECONDS:
            self._store.keep_clock(self._last)
            self._saved_at = at
        self._tell_early()
        return at >= hold.until

    def _judge(self, last: SeenClock, at: float, wall: float) -> _Hold:
        drift = _drift(last, at, wall)
        if abs(drift) <= JUMP_SECONDS:
            is_over = last.is_doubt and is_synchronised()
            return _NONE if is_over else _Hold(last.held_until, last.is_doubt)
        is_same_boot = self._boot and self._boot == last.boot
        if (drift if is_same_boot else wall - last.wall) < 0:
            return _Hold(at + self._hold_seconds, reason="clock-jumped")
        if is_same_boot:
            if is_synchronised():
                return _Hold(at + self._hold_seconds, reason="clock-jumped")
            return _Hold(at + DOUBT_SECONDS, is_doubt=True, reason="clock-jumped")
        if wall > last.wall + OFF_SECONDS and at < DOUBT_SECONDS and not is_synchronised():
            return _Hold(DOUBT_SECONDS, is_doubt=True, reason="clock-not-sure")
        return _NONE

    def _tell_early(self) -> None:
        """Days that are not over, or are to come, and have reports: the clock was ahead when they were made."""
        today = clock.today()
        early = frozenset(day for day, _ in self._store.complete_parts() if day >= today)
        if early - self._early:
            days = " ".join(str(day) for day in sorted(early))
            logger.error(
                "days-reported-early", extra={"days": days, "then": "the rest goes into supplements"}
            )
        self._early = early


def _drift(last: SeenClock, at: float, wall: float) -> float:
    return (wall - at) - (last.wall - last.since_boot)


def _read_boot() -> str:
    """Which start of the machine this is; empty where that is hidden (ProcSubset= of systemd)."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
