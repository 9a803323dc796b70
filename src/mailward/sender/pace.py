"""When report mail may go, and when again: its own rate with a warm-up, and the back-off of RFC 8460 section 5.5."""

import math
import random
from datetime import timedelta

# minutes between the attempts: they double up to four hours, and the last is a day after the first
RETRY_MINUTES = (5, 10, 20, 40, 80, 160, 240, 240, 240, 240, 165)
MAX_ATTEMPTS = len(RETRY_MINUTES) + 1
MAX_WAIT = timedelta(hours=24)
"""Nothing waits longer, whatever Retry-After says or the clock does."""
_DAY_SECONDS = 86_400
_JITTER = 0.1


def retry_seconds(attempts: int, retry_after: int) -> int | None:
    """How long to wait after so many attempts; None: these were all. `retry_after`: what the other side asks for."""
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = RETRY_MINUTES[max(attempts, 1) - 1] * 60
    wait += random.randrange(int(wait * _JITTER) + 1)  # noqa: S311 - no secret
    return min(max(wait, retry_after), int(MAX_WAIT.total_seconds()))


def hourly_limit(now: int, first_made_at: int | None, warm_up: int, limit: int) -> int:
    """Mails an hour: a new sender of much mail is trusted by nobody, so the first days see few."""
    if not warm_up:
        return limit
    days = 0 if first_made_at is None else max(now - first_made_at, 0) // _DAY_SECONDS
    return min(limit, warm_up << min(days, 30))


class Pace:
    """A bucket that a minute's worth of mails fits in. Times are seconds since the machine was started."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._tokens = math.inf

    def available(self, at: float, per_hour: int) -> int:
        self._tokens += max(at - self._at, 0.0) * per_hour / 3600
        self._tokens = min(self._tokens, max(per_hour / 60, 1.0))
        self._at = at
        return int(self._tokens)

    def take(self) -> None:
        self._tokens -= 1
