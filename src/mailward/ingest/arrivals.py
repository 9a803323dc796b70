"""What became of report mails and POSTs, counted as they are taken in."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Definition, Histogram
from mailward.ingest.errors import StoreBusy, TooMuchToday
from mailward.net import clock
from mailward.store.models import Door, Trust
from mailward.store.services.incoming import Stored

DOORS = (Door.SMTP.value, Door.HTTPS.value)
OUTCOMES = ("new", "known", "quarantined", "busy", "too-much", "failed")


def _histograms(definition: Definition) -> dict[str, Histogram]:
    return {door: definition.make() for door in DOORS}


@dataclass(slots=True)
class Arrivals:
    """What became of what came in. Only the loop counts; any thread may read."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By door and outcome."""
    reports: Counter[tuple[str, str]] = field(default_factory=Counter)
    """New ones, by door and trust."""
    sizes: dict[str, Histogram] = field(default_factory=lambda: _histograms(catalogue.ARRIVAL_BYTES))
    seconds: dict[str, Histogram] = field(default_factory=lambda: _histograms(catalogue.ARRIVAL_SECONDS))

    @contextmanager
    def counting(self, door: Door, size: int) -> Iterator["Outcome"]:
        """Around taking one in, as far as its commit."""
        started, outcome = clock.monotonic(), Outcome(self, door.value)
        try:
            yield outcome
        except StoreBusy:
            outcome.name = "busy"
            raise
        except TooMuchToday:
            outcome.name = "too-much"
            raise
        finally:
            self.outcomes[door.value, outcome.name] += 1
            self.sizes[door.value].observe(size)
            self.seconds[door.value].observe(clock.monotonic() - started)


@dataclass(slots=True)
class Outcome:
    """Of one that is being taken in."""

    arrivals: Arrivals
    door: str
    name: str = "failed"

    def stored(self, stored: Stored, trust: Trust) -> None:
        self.name = "quarantined" if stored.quarantine_id is not None else "new" if stored.new else "known"
        if stored.new:
            self.arrivals.reports[self.door, trust.value] += stored.new
