"""Failures that jump under enforce: a fault, or the attack that enforce is there to stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

RECENT_DAYS = 2
MIN_REFUSED = 10
"""Sessions, in the recent days."""
MIN_PERCENT = 5.0
TIMES = 5
"""So many times the share of the days before."""
MIN_DAYS_BEFORE = 3
"""With fewer reported days before, there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class DayCount:
    """Sessions of one policy type that counted reports tell of, for one reported day."""

    day: date
    sessions: int
    refused: int


@dataclass(frozen=True, slots=True)
class Jump:
    first: date
    last: date
    refused: int
    sessions: int
    before_percent: float


def find_jump(days: Sequence[DayCount]) -> Jump | None:
    """Whether the last reported days show far more refused sessions than those before. Days without reports say
    nothing and are not in `days`.
    """
    reported = sorted((day for day in days if day.sessions), key=lambda day: day.day)
    recent, before = reported[-RECENT_DAYS:], reported[:-RECENT_DAYS]
    if len(before) < MIN_DAYS_BEFORE:
        return None
    refused, sessions = sum(day.refused for day in recent), sum(day.sessions for day in recent)
    base = sum(day.refused for day in before) * 100 / sum(day.sessions for day in before)
    percent = refused * 100 / sessions
    if refused < MIN_REFUSED or percent < MIN_PERCENT or percent < base * TIMES:
        return None
    return Jump(recent[0].day, recent[-1].day, refused, sessions, base)
