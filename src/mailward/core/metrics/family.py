"""A metric's definition, and the metric with its samples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import msgspec

Values = TypeVar("Values", bound=tuple[str, ...])
"""Of the labels, in the definition's order."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    labels: dict[str, str]
    value: float
    suffix: str = ""
    """Of a histogram: `_bucket`, `_sum`, `_count`."""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with all its samples, as processes hand it to one another."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


class Histogram:
    """How many values were no larger than each bound. One thread observes; any may read."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone; the last one has no bound."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        at = 0
        for bound in self._bounds:
            if value <= bound:
                break
            at += 1
        self.counts[at] += 1
        self.sum += value

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), tuple(self.counts), strict=True):
            total += count
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield Sample({**labels, "le": le}, total, "_bucket")
        yield Sample(dict(labels), self.sum, "_sum")
        yield Sample(dict(labels), total, "_count")


@dataclass(frozen=True, slots=True)
class Definition:
    """What a metric is called, and what it says."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = field(default=(), kw_only=True)
    """Of a histogram's buckets."""

    def make(self) -> Histogram:
        return Histogram(self.bounds)

    def one(self, value: float) -> Family:
        """Of a metric without labels."""
        return self.of({(): value})

    def of(self, values: Mapping[Values, float] | Mapping[Values, Histogram]) -> Family:
        """By the values of the labels. Raises ValueError where they are not as many as the labels."""
        samples: list[Sample] = []
        # a copy at once: another thread counts on
        held: dict[Values, float | Histogram] = dict(values)
        for key, value in sorted(held.items()):
            labels = dict(zip(self.labels, key, strict=True))
            if isinstance(value, Histogram):
                samples += value.samples(labels)
            else:
                samples.append(Sample(labels, float(value)))
        return Family(self.name, self.kind, self.help, tuple(samples))
