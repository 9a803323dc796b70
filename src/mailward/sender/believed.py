"""What time it is, as far as it can be believed: a clock that is set forward must not end policies that are live.

The wall clock is an input like any other: a mistake, a dead battery or a forged NTP answer moves it, and a policy
that looks ended while its host is blocked would be a policy taken away. So time goes no faster than the machine has
run since the last moment that is known: the latest use in the cache, or the last time that a policy host,
authenticated, said in its response the same day as our clock. Until then a policy may live too long, by as much as
the machine was off: the mistake that protects. A clock set back lets policies live longer as well, and is believed.
"""

from datetime import datetime

from mailward.net import clock

TOLERANCE_SECONDS = 86_400  # between our clock and a policy host's: some are set badly


class BelievedTime:
    def __init__(self, seen_at: int | None = None) -> None:
        """`seen_at`: the latest moment that an earlier process is known to have lived in."""
        self._seen_at = _wall() if seen_at is None else float(seen_at)
        self._since = clock.since_boot()

    def now(self) -> int:
        """Seconds since 1970."""
        return int(min(_wall(), self._seen_at + clock.since_boot() - self._since))

    @property
    def doubt_seconds(self) -> int:
        """How much later it is by the wall clock than can be believed."""
        return int(_wall()) - self.now()

    def confirm(self, served_at: datetime) -> None:
        """An authenticated server says what time it is: the same as our clock, so our clock is right."""
        wall = _wall()
        if abs(served_at.timestamp() - wall) <= TOLERANCE_SECONDS:
            self._seen_at, self._since = wall, clock.since_boot()


def _wall() -> float:
    return clock.now().timestamp()
