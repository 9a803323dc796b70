"""The daemon's counters as a page for Prometheus (text format 0.0.4). docs/sender.md names every one of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mailward.core.metrics import page
from mailward.core.metrics.family import Family, Kind, Sample
from mailward.core.sending.facts import Row
from mailward.sender.census import Census
from mailward.sender.metrics import Metrics
from mailward.sender.signalnumbers import UNREADABLE, Number

PREFIX = "mailward_sender_"

_SIGNAL_HELP = {
    Number.RECEIVED: "Datagrams of libtlsrpt's that were received.",
    Number.SESSIONS: "Sessions that are counted, on the disk.",
    Number.DROPPED: "Datagrams that were dropped for want of memory.",
    Number.REFUSED: "Sessions not counted since there are too many different ones.",
    Number.QUEUE_FULL: "How often the kernel's queue of datagrams was found full: some were probably lost.",
    Number.QUEUE_LENGTH: "Datagrams that the kernel's queue takes.",
    Number.NOT_SENT: "Datagrams that Postfix's log says it could not send.",
    Number.COMMITS: "Commits of counts.",
    Number.COMMIT_ERRORS: "Commits of counts that failed; they are tried again.",
    Number.UNCOMMITTED: "Sessions that only memory holds.",
    Number.STARTS: "Starts of the collector's process.",
    Number.REPORTS_MADE: "TLS reports that were made.",
    Number.REPORTS_DELIVERED: "Deliveries of reports that were accepted.",
    Number.REPORTS_POSTPONED: "Attempts that are made again.",
    Number.REPORTS_FAILED: "Deliveries that are given up.",
    Number.REPORTS_WAITING: "Deliveries that wait.",
    Number.RUAS_SUPPRESSED: "Places that nothing is sent to because all came back.",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the page is made of."""

    metrics: Metrics
    dane_on: bool
    overrides: int
    mode: str
    started_at: float
    census: Census | None = None
    """None: the cache cannot be read."""
    deferred: Mapping[str, "Deferred"] = field(default_factory=dict)
    """By row of the decision table."""
    signals: Mapping[Number, int] = field(default_factory=dict)
    """Empty: no reports are made."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Mail in Postfix's queue that waits because of us."""

    domains: int
    messages: int
    oldest_seconds: int


def render_page(scene: Scene) -> bytes:
    return page.render_page(families(scene))


def families(scene: Scene) -> Iterator[Family]:
    yield from _counters(scene.metrics)
    yield _single("up_since_seconds", "gauge", "When it started, seconds since 1970.", scene.started_at)
    yield _single("dane_on", "gauge", "1 where DANE is looked for.", float(scene.dane_on))
    yield _single("overrides", "gauge", "Overrides in the file, ended ones too.", scene.overrides)
    yield _family("mode", "gauge", "1 for the mode that it runs in.", Sample({"mode": scene.mode}, 1.0))
    yield _single(
        "cache_readable", "gauge", "1 where the cache can be read.", float(scene.census is not None)
    )
    if scene.census is not None:
        yield from _of_cache(scene.census)
    yield from _of_queue(scene.deferred)
    if scene.signals:
        yield from _of_signals(scene.signals)


def _counters(metrics: Metrics) -> Iterator[Family]:
    yield _single("connections", "gauge", "Connections of Postfix, open now.", metrics.connections)
    yield _single("connections_total", "counter", "Connections since the start.", metrics.connections_total)
    yield _single(
        "malformed_total", "counter", "Connections closed for what is no netstring.", metrics.malformed_total
    )
    yield _labelled("answers_total", "Answers, by row of the decision table.", "row", metrics.answers)
    yield _single("memo_misses_total", "counter", "Answers that had to be worked out.", metrics.memo_misses)
    yield _single("late_answers_total", "counter", "Answers given at the deadline.", metrics.late_answers)
    yield _single("record_lookups_total", "counter", "_mta-sts records asked for.", metrics.record_lookups)
    yield _single("record_failures_total", "counter", "Of them, those that failed.", metrics.record_failures)
    yield _single("fetches_total", "counter", "Policies asked for over HTTPS.", metrics.fetches)
    yield _labelled(
        "fetch_failures_total", "Of them, those that failed, by reason.", "reason", metrics.fetch_failures
    )
    yield _single("policy_changes_total", "counter", "Policies learned or changed.", metrics.policy_changes)
    yield _single(
        "cache_errors_total", "counter", "Reads and writes of the cache that failed.", metrics.cache_errors
    )
    yield _single("dane_lookups_total", "counter", "Next hops looked at for DANE.", metrics.dane_lookups)
    yield _single(
        "decision_changes_total", "counter", "Decisions unlike the one before.", metrics.decision_changes
    )


def _of_cache(census: Census) -> Iterator[Family]:
    yield _single("policies", "gauge", "Live policies in the cache.", census.live)
    yield _single("policies_ended", "gauge", "Policies whose life has ended.", census.ended)
    yield _single(
        "policy_oldest_seconds",
        "gauge",
        "Age of the live policy fetched the longest ago.",
        census.oldest_seconds,
    )
    yield _single(
        "refresh_failing", "gauge", "Live policies whose last refresh failed.", census.failing_refreshes
    )
    if census.first_failing_end_seconds is not None:
        yield _single(
            "refresh_failing_end_seconds",
            "gauge",
            "Seconds until the first of them ends.",
            census.first_failing_end_seconds,
        )


def _of_queue(deferred: Mapping[str, Deferred]) -> Iterator[Family]:
    def by_row(values: Iterable[tuple[str, float]]) -> Iterator[Sample]:
        return (Sample({"row": row}, value) for row, value in values)

    rows = deferred.items()
    yield _family(
        "deferred_messages",
        "gauge",
        "Messages in Postfix's queue that wait because of policy.",
        *by_row((row, found.messages) for row, found in rows),
    )
    yield _family(
        "deferred_domains",
        "gauge",
        "The domains that they go to.",
        *by_row((row, found.domains) for row, found in rows),
    )
    yield _family(
        "deferred_oldest_seconds",
        "gauge",
        "Age of the oldest of them.",
        *by_row((row, found.oldest_seconds) for row, found in rows),
    )


def _of_signals(numbers: Mapping[Number, int]) -> Iterator[Family]:
    for number, text in _SIGNAL_HELP.items():
        kind = "counter" if number.endswith("_total") else "gauge"
        yield _single(number.value, kind, text, numbers[number])
    unreadable = {code: numbers[number] for code, number in UNREADABLE.items()}
    text = "Datagrams that could not be read, by reason."
    yield _labelled("signals_unreadable_total", text, "reason", unreadable)


def _single(name: str, kind: str, text: str, value: float) -> Family:
    return _family(name, kind, text, Sample({}, value))


def _labelled(name: str, text: str, label: str, values: Mapping[Row, int] | Mapping[str, int]) -> Family:
    samples = (Sample({label: str(key)}, float(value)) for key, value in sorted(values.items()))
    return _family(name, "counter", text, *samples)


def _family(name: str, kind: str, text: str, *samples: Sample) -> Family:
    return Family(PREFIX + name, Kind(kind), text, samples)
