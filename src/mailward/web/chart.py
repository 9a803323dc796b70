"""The chart of a timeline: where each bar stands, in the units of the SVG's view box.

The picture is stretched to the width of the page, so it holds no text; labels stand beside it in HTML.
Colours and sizes are classes: the Content-Security-Policy allows no inline style.
"""

from dataclasses import dataclass
from datetime import date
from math import ceil, floor, log10

from mailward.store.queries.daily import Day, Timeline

HEIGHT = 100.0
BAR = 8.0
STEP = 10.0
_LEAST = 2.0
"""A failure is never too small to see."""
_MOST_LABELS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    day: Day
    x: float
    ok_y: float
    ok_height: float
    failed_y: float
    failed_height: float
    label: str
    """The values in words."""


@dataclass(frozen=True, slots=True)
class Chart:
    bars: tuple[Bar, ...]
    width: float
    top: int
    """The number of sessions at the upper edge."""
    labels: tuple[date, ...]
    """Days for the axis, evenly spread from the first to the last."""

    @property
    def middle(self) -> int:
        return self.top // 2


def draw(timeline: Timeline) -> Chart:
    days = timeline.days
    top = _round_up(max((day.total for day in days), default=0))
    return Chart(
        bars=tuple(_bar(day, index * STEP, top) for index, day in enumerate(days)),
        width=len(days) * STEP,
        top=top,
        labels=_labels([day.day for day in days]),
    )


def describe(day: Day) -> str:
    """`3 Sep 2024: 1,198 encrypted, 6 failed`; a day without a report says so."""
    name = f"{day.day.day} {day.day:%b %Y}"
    if not day.reports:
        return f"{name}: no report"
    return f"{name}: {day.ok:,} encrypted, {day.failed:,} failed"


def _bar(day: Day, x: float, top: int) -> Bar:
    failed = day.failed / top * HEIGHT
    if day.failed:
        failed = max(failed, _LEAST)
    ok = min(day.ok / top * HEIGHT, HEIGHT - failed)
    return Bar(
        day=day,
        x=x + (STEP - BAR) / 2,
        ok_y=round(HEIGHT - ok - failed, 2),
        ok_height=round(ok, 2),
        failed_y=round(HEIGHT - failed, 2),
        failed_height=round(failed, 2),
        label=describe(day),
    )


def _round_up(number: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100, ...: numbers whose half is a whole one too."""
    if number <= 2:
        return 2
    power = 10 ** floor(log10(number))
    return next(int(step * power) for step in (1, 2, 4, 10) if step * power >= number)


def _labels(days: list[date]) -> tuple[date, ...]:
    if len(days) <= _MOST_LABELS:
        return tuple(days)
    step = (len(days) - 1) / (_MOST_LABELS - 1)
    return tuple(days[min(ceil(n * step - 0.5), len(days) - 1)] for n in range(_MOST_LABELS))
