"""Work that waits: how long it has been due, what fails again and again, what people wait for."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.subject import Findings, Subject, good
from mailward.net import clock
from mailward.store.queries import installation
from mailward.store.queries.installation import Queue

_IMPORT = timedelta(hours=3)
"""Longer than the lease of one that is under way."""
_FIX_LATE = "see that the worker runs, and what it says: journalctl -u mailward"


async def look_at_queues(subject: Subject) -> Findings:
    now = clock.now()
    before = now - timedelta(minutes=subject.settings.doctor.queue_minutes)
    waiting = await subject.ask(installation.queues, now)
    found = list(_queues(waiting, now, before))
    count, why = await subject.ask(installation.unsent_mails, before)
    if count and subject.settings.relay.host:
        text = f"{count} mails wait to be sent since before {before:%H:%M} UTC{f': {why}' if why else ''}"
        found.append(tell("mails-unsent", text, "mailward doctor --only relay"))
    if subject.settings.nameserver.zone:
        count, name = await subject.ask(installation.unannounced, before)
        if count:
            text = f"{count} policies are published and their ids not told yet, such as that of {name}"
            fix = "see the domain's page, Policy: it names the policy host that does not serve it yet"
            found.append(tell("policies-unannounced", text, fix))
    if stuck := await subject.ask(installation.imports_since, now - _IMPORT):
        text = f"{stuck} imports have been under way for more than {_IMPORT.total_seconds() / 3600:.0f} hours"
        found.append(tell("imports-late", text, _FIX_LATE))
    for finding in found or [
        good(f"{sum(each.waiting for each in waiting)} pieces of work wait, none is late")
    ]:
        yield finding


def _queues(waiting: Sequence[Queue], now: datetime, before: datetime) -> Iterator[Finding]:
    for each in waiting:
        if each.due_since is not None and each.due_since < before:
            minutes = (now - each.due_since).total_seconds() / 60
            text = f"{each.kind}: {each.due} pieces of work are due, the oldest for {minutes:,.0f} minutes"
            yield tell("work-late", text, _FIX_LATE)
        if each.failing and each.kind not in ("mail", "notice"):
            text = f"{each.kind}: {each.failing} pieces of work fail again and again: {each.last_error[:200]}"
            yield tell("work-failing", text, "journalctl -u mailward | grep work-failed")
