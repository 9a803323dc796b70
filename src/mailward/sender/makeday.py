"""The reports of a day, from the counts into the store: some hundred domains at a time, so that memory stays flat, a
crash costs one batch, and commands need not wait.

What is counted for a day after its reports were begun becomes a supplement: a report of its own, with its own id, of
the same day. One a day at most, with the reports of the day that has ended.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from mailward.core.tlsrpt.compose import gzip_report
from mailward.core.tlsrpt.counting import DomainDay
from mailward.core.tlsrpt.daily import MAX_DETAILS, Reporter, count_sessions, cut_details, make_report
from mailward.core.tlsrpt.destinations import Destinations, read_destinations
from mailward.core.tlsrpt.write import serialise_report
from mailward.sender.counts import Counts, Part
from mailward.sender.reportrows import NewDelivery, NewReport
from mailward.sender.reportstore import ReportStore

BATCH = 500


def due_parts(counts: Counts, store: ReportStore, now: datetime, make_after: timedelta) -> list[Part]:
    """Of the days that have ended, what has no reports yet, oldest first. Raises CountsError or StoreError."""
    complete = store.complete_parts()
    for part in counts.parts():
        # the file of counts is older than parts are, or another than it was
        if part.is_open and (part.day, part.number) in complete:
            counts.close_part(part)
    last_made = {day: at for (day, _), at in sorted(complete.items())}
    today = (now - make_after).date()
    return [
        part
        for part in counts.parts()
        if part.day < today
        and (part.day, part.number) not in complete
        # a closed one was begun; a supplement waits for what else may come late
        and (not part.is_open or _day_of(last_made.get(part.day, 0), make_after) != today)
    ]


def make_day(
    counts: Counts, store: ReportStore, part: Part, reporter: Reporter, *, now: int, spread_seconds: int
) -> int:
    """How many reports were made now. Goes on where a crash has ended it. Raises CountsError or StoreError."""
    counts.close_part(part)
    reporter = replace(reporter, instance=store.instance())
    made_to = store.made_to(part.day, part.number)
    domains = (each for each in counts.read_part(part) if each.domain > made_to)
    made = 0
    while True:
        batch = list(islice(domains, BATCH))
        reports = [
            report
            for each in batch
            if (report := _new_report(each, reporter, now, spread_seconds)) is not None
        ]
        is_last = len(batch) < BATCH
        store.add_reports(
            part.day,
            part.number,
            reports,
            batch[-1].domain if batch else made_to,
            len(batch) - len(reports),
            now,
            complete=is_last,
        )
        made += len(reports)
        if is_last:
            return made


def _day_of(at: int, make_after: timedelta) -> date:
    """The day of reporting that a time belongs to."""
    return (datetime.fromtimestamp(at, UTC) - make_after).date()


def _new_report(counted: DomainDay, reporter: Reporter, now: int, spread_seconds: int) -> NewReport | None:
    report = make_report(counted, reporter)
    if report is None:
        return None
    report, cut = cut_details(report, MAX_DETAILS)
    read = read_destinations(counted.record)
    successes, failures = count_sessions(report)
    return NewReport(
        counted.domain,
        report.report_id or "",
        gzip_report(serialise_report(report)),
        successes,
        failures,
        counted.cut + cut,
        _say(read, counted.part),
        [*_deliveries(read, now, spread_seconds)],
    )


def _deliveries(read: Destinations, now: int, spread_seconds: int) -> Iterator[NewDelivery]:
    for each in read.found:
        # RFC 8460 §4.1: a random delay of up to four hours, so that receivers are not flooded
        next_at = now + random.randrange(spread_seconds + 1)  # noqa: S311 - no secret
        yield NewDelivery(each.rua, each.address, each.max_bytes, next_at)


def _say(read: Destinations, part: int) -> str:
    supplement = [f"supplement {part}"] if part else []
    return _joined(
        supplement + [f"{note.slug} {note.value!a}" if note.value else note.slug for note in read.notes]
    )


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(notes)[:1000]
