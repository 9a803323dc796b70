"""The doors' way through `accept`: CPU work off the event loop, DNS with a deadline, one commit for many."""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mailward.config import Settings
from mailward.core.tlsrpt.limits import Limits
from mailward.ingest.accept import (
    Arrival,
    Draft,
    judge_by_door,
    judge_mail,
    limits_of,
    read_arrival,
)
from mailward.ingest.arrivals import Arrivals
from mailward.ingest.errors import TooMuchToday
from mailward.ingest.keys import KeyFinder, make_key_resolver
from mailward.ingest.nonces import find_test_domain
from mailward.ingest.writer import Writer
from mailward.net import tracing
from mailward.net.resolver import Resolver
from mailward.store.models import Door, Trust
from mailward.store.services.incoming import COUNTED_TRUST, Incoming, Judgement, Stored, size_of

_log = logging.getLogger("mailward.ingest")

MAX_INLINE_BYTES = 64 * 1024
"""A hop to another thread costs more than hashing this much."""
MAX_UNREADABLE_A_DAY = 1_000
"""Of one organisation: anybody can send what nobody can read."""
MAX_UNVOUCHED_BYTES_A_DAY = 1024 * 1024 * 1024
"""Of one organisation: anybody can send reports that nobody signs, and they stay until it deletes them. Those
that somebody vouches for have room besides.
"""


class Acceptor:
    """Takes arrivals of the doors. One for the process; make it inside its event loop."""

    def __init__(self, settings: Settings, *, resolver: Resolver | None = None) -> None:
        self._limits: Limits = limits_of(settings)
        self._authserv_ids: Collection[str] = settings.reports.authserv_ids
        self._report_domain = settings.reports.domain
        self._finder = KeyFinder(resolver or make_key_resolver(settings.dns))
        self.writer = Writer()
        self.arrivals = Arrivals()
        # two: one hostile report that takes a second to read does not keep the next waiting
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="readers")
        self._unreadable = _DailyBudget(MAX_UNREADABLE_A_DAY)
        self._unvouched = _DailyBudget(MAX_UNVOUCHED_BYTES_A_DAY)

    async def accept(self, arrival: Arrival) -> Stored:
        """Returns once the arrival is committed: as reports, or in quarantine. Raises IngestError where it could not
        be kept.
        """
        with (
            tracing.span(
                "report", {"mailward.door": arrival.door.value, "mailward.bytes": len(arrival.content)}
            ),
            self.arrivals.counting(arrival.door, len(arrival.content)) as outcome,
        ):
            incoming, stored = await self._accept(arrival)
            outcome.stored(stored, incoming.judgement.trust)
        _log_stored(incoming, stored)
        return stored

    async def _accept(self, arrival: Arrival) -> tuple[Incoming, Stored]:
        with tracing.span("report.accept"):
            incoming = await self.prepare(arrival)
        if incoming.unreadable is not None and not self._unreadable.spend(arrival, 1):
            raise TooMuchToday
        if incoming.judgement.trust not in COUNTED_TRUST and not self._unvouched.spend(
            arrival, size_of(incoming)
        ):
            raise TooMuchToday
        with tracing.span("report.store"):
            return incoming, await self.writer.submit(incoming)

    async def prepare(self, arrival: Arrival) -> Incoming:
        """Everything but the store."""
        loop = asyncio.get_running_loop()
        draft = await loop.run_in_executor(self._readers, read_arrival, arrival, self._limits)
        if not draft.reports:
            return draft.judged(Judgement(Trust.UNVERIFIED))
        test_domain_id = await find_test_domain(draft)
        if test_domain_id is not None:
            judgement = Judgement(Trust.TEST, detail="The test report that was asked for.")
            return draft.judged(judgement, test_domain_id)
        return draft.judged(await self._judge(draft))

    async def _judge(self, draft: Draft) -> Judgement:
        if draft.arrival.door is not Door.SMTP:
            return judge_by_door(draft.arrival)
        keys = await self._finder.find(draft.signatures)
        judge = partial(judge_mail, draft, keys, self._report_domain, authserv_ids=self._authserv_ids)
        if len(draft.arrival.content) <= MAX_INLINE_BYTES:
            return judge()
        return await asyncio.get_running_loop().run_in_executor(self._readers, judge)

    async def close(self) -> None:
        await self.writer.close()
        self._readers.shutdown()


class _DailyBudget:
    """How much of something an organisation may have a day. Starts anew with the process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._day = ""
        self._spent: Counter[int] = Counter()

    def spend(self, arrival: Arrival, amount: int) -> bool:
        day = arrival.received_at.date().isoformat()
        if day != self._day:
            self._day = day
            self._spent.clear()
        if self._spent[arrival.address.organisation_id] + amount > self._limit:
            return False
        self._spent[arrival.address.organisation_id] += amount
        return True


def _log_stored(incoming: Incoming, stored: Stored) -> None:
    _log.info(
        "stored",
        extra={
            "door": incoming.door.value,
            "organisation": incoming.organisation_id,
            "bytes": len(incoming.content),
            "new": stored.new,
            "copies": stored.copies,
            "trust": incoming.judgement.trust.value,
            "dkim": incoming.judgement.dkim,
            "signer": incoming.judgement.signer,
            "quarantined": incoming.unreadable[0] if incoming.unreadable else "",
        },
    )
