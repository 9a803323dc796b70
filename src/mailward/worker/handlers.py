"""The table of what the worker does: a kind of outbox item is one function and one line of HANDLERS."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from mailward.config import Settings
from mailward.net import clock, tracing
from mailward.net.mailer import MailerError, NoAddress, RecipientRefused
from mailward.notify import deliver
from mailward.store.aio import in_store
from mailward.store.services import (
    automatic,
    housekeeping,
    joining,
    notifications,
    outbox,
    problems,
    promotions,
    waves,
)
from mailward.store.services.certificates import read_subject
from mailward.store.services.outbox import Claimed
from mailward.worker.records import check_domain
from mailward.worker.watch import watcher_for

_log = logging.getLogger(__name__)
_MOST_REFUSALS = 5
"""A recipient that a relay refuses for good, and takes others' mail meanwhile, is given up after so many attempts."""


class Failure(NamedTuple):
    reason: str
    is_final: bool = False
    """Another attempt would not help."""
    wait: timedelta | None = None
    """Until the next one, where that is known; else longer each time."""


Failures = Mapping[int, Failure]
"""By the id of the outbox item. What is not in it is done."""
TURN_SECONDS = 15.0
"""So long one claim goes on with a change of many domains; the rest is the next one's."""
ORPHANS_A_WINDOW = 5_000
"""Raw messages that are looked at in one go: 720,000 a day."""


@dataclass(frozen=True, slots=True)
class Handler:
    kind: str
    run: Callable[[Settings, Sequence[Claimed]], Awaitable[Failures]]
    batch: int
    """So many items at most at once. A batch must end within the lease."""
    lease: timedelta = outbox.DEFAULT_LEASE
    first_wait: timedelta = outbox.FIRST_RETRY
    longest_wait: timedelta = outbox.MAX_RETRY
    lanes: int = 1
    """So many batches of it at a time: one that waits for a slow server does not hold up the others."""
    takes_newest: bool = False
    """One of the lanes takes what came last: what one person changes does not wait behind a change of ten thousand."""
    is_look: bool = False
    """Whether it looks at the servers of others: [watch] from_here says whether this machine does."""


async def assess(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids. Many at once cost little more than one where they share an MX host."""
    domain_ids = [int(item.key) for item in items]
    result = await in_store(problems.assess, domain_ids, settings.problems)
    if result.opened or result.closed:
        extra = {
            "domains": len(items),
            "opened": len(result.opened),
            "closed": len(result.closed),
            "held-back": result.held_back,
        }
        _log.info("problems-assessed", extra=extra)
    return {}


async def notify(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are problem ids. All that are due together: those of one kind share a mail."""
    await deliver.queue(settings, [int(item.key) for item in items])
    return {}


async def mail(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are Message-IDs of mails about problems."""
    start = clock.now()
    failed = await deliver.deliver(settings, [item.key for item in items])
    return await in_store(_mail_failures, items, failed, start)


def _mail_failures(items: Sequence[Claimed], failed: Mapping[str, MailerError], start: datetime) -> Failures:
    return {item.id: _mail_failure(failed[item.key], item, start) for item in items if item.key in failed}


def _mail_failure(error: MailerError, item: Claimed, start: datetime) -> Failure:
    refused = isinstance(error, RecipientRefused) and not error.temporary
    return Failure(error.detail, is_final=refused and _is_given_up(error, item, start))


def _is_given_up(error: MailerError, item: Claimed, start: datetime) -> bool:
    """Whether a refusal is about this recipient: a relay that is set up wrongly refuses everybody for good."""
    is_often = item.attempts >= _MOST_REFUSALS
    if isinstance(error, NoAddress):
        return is_often
    known = {"refused_at": start.isoformat(), **item.payload}
    first = datetime.fromisoformat(known["refused_at"])
    # what it took after it refused this one may be because it was mended in between: the next attempt tells
    is_fair, last = "has_taken" in item.payload, notifications.last_taken()
    if last is not None and first <= last <= clock.now():
        is_fair = is_fair or last < start
        known["has_taken"] = True
    if known != item.payload:
        outbox.note(item, known)
    return (is_often and is_fair) or clock.now() - first >= notifications.GIVEN_UP_AFTER


async def verify(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of reports whose signature could not be checked for want of DNS."""
    from mailward.ingest.verify_again import verify_again

    return await _each(items, verify_again)


async def records(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids."""
    return await _each(items, lambda domain_id: check_domain(settings, domain_id))


async def announce(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids: of those whose policy has changed."""
    from mailward.worker.announcing import announce_domain

    reasons = await asyncio.gather(
        *(tracing.traced("policy.announce", announce_domain(settings, int(item.key))) for item in items)
    )
    return {item.id: Failure(reason) for item, reason in zip(items, reasons, strict=True) if reason}


async def front(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids: of those whose policy our hosts serve, where others' servers may be in front of them."""
    from mailward.worker.announcing import announce_in_front

    waits = await asyncio.gather(
        *(tracing.traced("policy.front", announce_in_front(settings, int(item.key))) for item in items)
    )
    return {
        item.id: Failure(wait.reason, wait=wait.time)
        for item, wait in zip(items, waits, strict=True)
        if wait.reason
    }


async def seen(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids: of those whose policy's id is told, and is looked for in DNS."""
    from mailward.worker.announcing import see_domain

    reasons = await asyncio.gather(
        *(tracing.traced("policy.see", see_domain(settings, int(item.key))) for item in items)
    )
    return {item.id: Failure(reason) for item, reason in zip(items, reasons, strict=True) if reason}


async def follow(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains whose policy follows their MX records, and may have to change."""
    from mailward.worker.following import follow_domain

    reasons = await asyncio.gather(*(follow_domain(settings, int(item.key)) for item in items))
    return {item.id: Failure(reason) for item, reason in zip(items, reasons, strict=True) if reason}


async def leaving(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains that leave MTA-STS."""
    from mailward.worker.leaving import leave_domain

    return await _each(items, lambda domain_id: leave_domain(settings, domain_id))


async def notice(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are those of store.models.Notice."""
    start = clock.now()
    failed = await deliver.deliver_notices(settings, [item.key for item in items])
    return await in_store(_mail_failures, items, failed, start)


async def promote(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains that are due to be enforced by themselves."""
    from mailward.worker.promoting import promote_domain

    return await _each(items, lambda domain_id: promote_domain(settings, domain_id))


async def promoted(_settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains that were enforced by themselves: all that are due together share mails."""
    await in_store(promotions.tell, [int(item.key) for item in items])
    return {}


async def joined(_settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are those of store.services.joining: all that are due together share mails."""
    await in_store(joining.tell, [joining.read_key(item.key) for item in items])
    return {}


async def profile(_settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of changes of policy profiles."""
    ends = clock.monotonic() + TURN_SECONDS
    for item in items:
        # a batch at a time: reports and pages come between
        while await in_store(waves.step, int(item.key)):
            if clock.monotonic() >= ends:
                await in_store(outbox.put, item.kind, item.key)
                break
    return {}


async def choose(_settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of choices for many domains."""
    for item in items:
        while await in_store(automatic.step, int(item.key)):
            pass
    return {}


async def import_domains(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of imports."""
    from mailward.worker.importing import take_turn

    return await _each(items, lambda import_id: take_turn(settings, import_id))


async def dns_update(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids: of those whose records we keep at their own DNS server."""
    from mailward.worker.updating import update_domain

    reasons = await asyncio.gather(*(update_domain(settings, int(item.key)) for item in items))
    return {item.id: Failure(reason) for item, reason in zip(items, reasons, strict=True) if reason}


async def dns_remove(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains that are gone; the payload says what they have written, and where."""
    from mailward.worker.updating import MAX_REMOVALS_TRIED, remove_leftovers

    failures = {}
    for item in items:
        what = item.payload
        reason = await remove_leftovers(settings, what["zone"], what["domain"], what["records"])
        if reason and item.attempts < MAX_REMOVALS_TRIED:
            failures[item.id] = Failure(reason)
        elif reason:
            _log.warning("dns-record-left", extra={"domain": what["domain"], "reason": reason})
    return failures


async def orphans(_settings: Settings, items: Sequence[Claimed]) -> Failures:
    """One key. A window at a time: the payload says where it begins."""
    for item in items:
        after = await in_store(housekeeping.remove_orphans, item.payload.get("after", 0), ORPHANS_A_WINDOW)
        if after:
            later = clock.now() + housekeeping.ORPHANS_EVERY
            await in_store(outbox.put, item.kind, item.key, {"after": after}, later)
    return {}


async def watch(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are ids of domains that are due to be looked at from outside."""
    return await _each(items, watcher_for(settings).watch)


async def look(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are `domain ID`, `deep ID` and `asked ID`: checks that a person waits for."""
    watcher = watcher_for(settings)

    async def do(item: Claimed) -> None:
        what, _, number = item.key.partition(" ")
        if what in ("domain", "deep"):
            await watcher.watch(int(number), is_asked=True, is_deep=what == "deep")
        else:
            await watcher.look_up(int(number))

    return await _each_item(items, do)


async def rejudge(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are names of MX hosts."""
    return await _each_item(items, lambda item: watcher_for(settings).rejudge(item.key))


async def certificate(settings: Settings, items: Sequence[Claimed]) -> Failures:
    """Keys are domain ids, and names of the installation's own."""
    if not settings.acme.directories:
        return {}
    from mailward.worker.certificates import carer_for

    carer = carer_for(settings)
    return await _each_item(items, lambda item: carer.care(read_subject(item.key)))


HANDLERS = (
    Handler("assess", assess, batch=2_000),
    Handler("notify", notify, batch=10_000),
    # ten messages at their deadline of two minutes each end within the lease
    Handler("mail", mail, batch=10, lease=timedelta(minutes=30), longest_wait=timedelta(minutes=10)),
    Handler("verify", verify, batch=20),
    Handler("records", records, batch=20, lanes=2, takes_newest=True),
    # our own hosts: five seconds to follow, and a fetch; whoever takes over from a dead worker should not wait for long
    Handler(
        "announce",
        announce,
        batch=20,
        lease=timedelta(seconds=30),
        longest_wait=timedelta(minutes=5),
        lanes=2,
        takes_newest=True,
    ),
    # servers of customers, of which many may hang: ten seconds for DNS, two for its turn, ten for each of two fetches;
    # caches keep the policy of before for a minute, so that to come again sooner is of no use
    Handler(
        "front",
        front,
        batch=25,
        lease=timedelta(minutes=1),
        first_wait=timedelta(minutes=1),
        longest_wait=timedelta(minutes=5),
        lanes=6,
        takes_newest=True,
    ),
    # a look at MX hosts has its own deadline of some seconds
    Handler("follow", follow, batch=10, lease=timedelta(minutes=5)),
    Handler("leaving", leaving, batch=10),
    Handler("notice", notice, batch=10, lease=timedelta(minutes=30), longest_wait=timedelta(minutes=10)),
    Handler("seen", seen, batch=20, lease=timedelta(minutes=2), lanes=2, takes_newest=True),
    Handler("promote", promote, batch=10, lease=timedelta(minutes=15)),
    Handler("promoted", promoted, batch=10_000),
    Handler("joined", joined, batch=10_000),
    # a turn, and the batch that it ends with; whoever takes over from a dead worker should not wait for long
    Handler("profile", profile, batch=1, lease=timedelta(minutes=1)),
    # ten thousand domains take a second; whoever takes over from a dead worker should not wait for long
    Handler("choose", choose, batch=1, lease=timedelta(minutes=1)),
    # a hundred domains take seconds, or a minute each where a server hangs; five hundred a turn
    Handler("import", import_domains, batch=1, lease=timedelta(minutes=30), lanes=2),
    # three records, each asked for and changed within twenty seconds
    Handler("dns-update", dns_update, batch=10, lease=timedelta(minutes=5), lanes=2),
    Handler("dns-remove", dns_remove, batch=4, lease=timedelta(minutes=5)),
    Handler("orphans", orphans, batch=1),
    # four minutes for the MX hosts of a domain, and as long for what began late
    Handler("watch", watch, batch=25, lease=timedelta(minutes=15), lanes=6, is_look=True),
    Handler("look", look, batch=10, lease=timedelta(minutes=15), lanes=2, is_look=True),
    # 20 seconds of rounds, 30 with an order, and a request at its deadline; one that was killed is soon followed
    Handler("certificate", certificate, batch=4, lease=timedelta(minutes=2), lanes=8),
    Handler("rejudge", rejudge, batch=1, lease=timedelta(minutes=30)),
)


async def _each(items: Sequence[Claimed], work: Callable[[int], Awaitable[object]]) -> Failures:
    return await _each_item(items, lambda item: work(int(item.key)))


async def _each_item(items: Sequence[Claimed], work: Callable[[Claimed], Awaitable[object]]) -> Failures:
    """Do every item at the same time as the others; one that fails leaves them alone."""
    results = await asyncio.gather(*(work(item) for item in items), return_exceptions=True)
    failures = {}
    for item, result in zip(items, results, strict=True):
        if isinstance(result, Exception):
            _log.error("work-failed", extra={"kind": item.kind, "key": item.key}, exc_info=result)
            failures[item.id] = Failure(f"{type(result).__name__}: {result}")
        elif isinstance(result, BaseException):
            raise result
    return failures
