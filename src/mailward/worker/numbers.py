"""What the worker tells of itself."""

from collections import Counter
from collections.abc import Iterable, Iterator

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family, Histogram
from mailward.core.metrics.health import Fact, Health
from mailward.net import clock

IDLE_SECONDS = 90.0
"""So long no round of work may take to end well: some wait half a minute where the database is away."""


class Counts:
    """Only the loop counts; any thread may read."""

    def __init__(self) -> None:
        self._started_at = clock.monotonic()
        self._turned_at = 0.0
        self._turned: float | None = None
        self.troubles = 0
        self.items: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.timed_at: dict[str, float] = {}
        self.timed_failures: Counter[str] = Counter()
        self.orders: Counter[tuple[str, str]] = Counter()
        """By CA and outcome."""

    def turned(self) -> None:
        """A round ended well, whether there was work or not."""
        self._turned_at, self._turned = clock.now().timestamp(), clock.monotonic()

    def begin(self, kinds: Iterable[str]) -> None:
        """Count these kinds of work from nought: a series that begins with its first failure has no rate."""
        for kind in kinds:
            self.did(kind, 0, 0, None)

    def did(self, kind: str, items: int, failed: int, seconds: float | None) -> None:
        self.items[kind, "done"] += items - failed
        self.items[kind, "failed"] += failed
        if kind not in self.seconds:
            self.seconds[kind] = catalogue.WORK_SECONDS.make()
        if seconds is not None:
            self.seconds[kind].observe(seconds)

    def families(self) -> Iterator[Family]:
        yield catalogue.WORK_ITEMS.of(self.items)
        yield catalogue.WORK_SECONDS.of({(kind,): each for kind, each in dict(self.seconds).items()})
        yield catalogue.WORK_TROUBLES.one(self.troubles)
        yield catalogue.WORK_TURNED.one(self._turned_at)
        yield catalogue.TIMED_DONE.of({(work,): at for work, at in dict(self.timed_at).items()})
        yield catalogue.ORDERS.of(self.orders)
        works = {*self.timed_at, *self.timed_failures}
        yield catalogue.TIMED_FAILURES.of({(work,): self.timed_failures[work] for work in works})

    def health(self) -> Health:
        """Live while its loop turns; ready while rounds of work end well, which needs the database."""
        since = clock.monotonic() - (self._turned or self._started_at)
        facts: dict[str, Fact] = {"turned_seconds_ago": round(since, 1), "troubles": self.troubles}
        if since > IDLE_SECONDS:
            return Health(ready=False, reasons=("no round of work has ended well for a while",), facts=facts)
        return Health(ready=True, facts=facts)


COUNTS = Counts()
"""Of this process, whose loops and handlers are modules' functions."""
