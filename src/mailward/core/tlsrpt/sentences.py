"""Numbers, times and lists as a person says them. British English, and nothing depends on the locale."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mailward.core.tlsrpt.schema import DateRange

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MAX_TEXT = 300


def shorten(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` characters of a stranger's text. Control characters are the renderer's business."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def say_count(count: int, noun: str) -> str:
    """ "1 session", "1,204 sessions"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def say_list(names: Sequence[str], noun: str, *, at_most: int = 3) -> str:
    """ "a, b and c"; with more than `at_most`, their number."""
    if len(names) > at_most:
        return say_count(len(names), noun)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def say_share(ok: int | None, failed: int | None) -> str:
    """The encrypted part, "99.5 %"; "" if unknown. Never rounded up to 100 while anything failed."""
    if ok is None or failed is None or ok + failed == 0:
        return ""
    if failed == 0:
        return "100 %"
    tenths = 1000 * ok // (ok + failed)
    return f"{tenths // 10}.{tenths % 10} %"


def say_period(period: DateRange) -> str:
    """ "on 3 September 2024", "from ... to ... UTC"."""
    start, end = period.start_datetime, period.end_datetime
    if start is None or end is None:
        if known := start or end:
            return f"{'from' if start else 'until'} {_say_time(known)} UTC"
        return "at a time that it does not say"
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    # RFC 8460 section 4.1 ends the day at 23:59:59, many senders at the next midnight: both are the day
    if start - midnight < timedelta(seconds=1) and timedelta(hours=23) < end - midnight <= timedelta(days=1):
        return f"on {_say_day(start)}"
    return f"from {_say_time(start)} to {_say_time(end)} UTC"


def _say_day(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _say_time(moment: datetime) -> str:
    return f"{_say_day(moment)} {moment.hour:02}:{moment.minute:02}"
