"""The doors' way through `accept`: CPU work off the event loop, DNS with a deadline, one commit for many."""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import DatabaseError

from mailward.config import Settings
from mailward.core.problems import owner_of
from mailward.core.tlsrpt.limits import Limits
from mailward.ingest.accept import (
    Arrival,
    Draft,
    judge_by_door,
    judge_mail,
    limits_of,
    read_arrival,
)
from mailward.ingest.addresses import count_domains
from mailward.ingest.arrivals import Arrivals
from mailward.ingest.errors import StoreBusy, TooMuchToday
from mailward.ingest.keys import KeyFinder, make_key_resolver
from mailward.ingest.nonces import find_test_domain
from mailward.ingest.writer import Writer
from mailward.net import tracing
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
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
MAX_SIGNED_BYTES_A_DAY = 256 * 1024 * 1024
"""Of one signer, for one organisation: whoever has a domain can sign. The largest report is a twelfth of it."""
MAX_SIGNED_BYTES_A_DOMAIN = 512 * 1024
"""So much more for each domain of the organisation: a large sender reports each of them once a day, in some KiB; of a
report with 5,000 failures 200 KiB are stored.
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
        self._signed = _DailyBudget(MAX_SIGNED_BYTES_A_DAY)

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
        if not await self._has_room(arrival, incoming):
            raise TooMuchToday
        with tracing.span("report.store"):
            return incoming, await self.writer.submit(incoming)

    async def _has_room(self, arrival: Arrival, incoming: Incoming) -> bool:
        size = size_of(incoming)
        if incoming.judgement.trust not in COUNTED_TRUST:
            return self._unvouched.spend(arrival, size)
        signer = owner_of(incoming.judgement.signer)
        if self._signed.spend(arrival, size, by=signer):
            return True
        # asked where it matters only: few signers ever come so far
        domains = await self._count_domains(arrival)
        if self._signed.spend(arrival, size, by=signer, besides=domains * MAX_SIGNED_BYTES_A_DOMAIN):
            return True
        _log.warning("too-much-signed", extra={"signer": signer, "bytes": size})
        return False

    async def _count_domains(self, arrival: Arrival) -> int:
        try:
            return await in_store(count_domains, arrival.address.organisation_id)
        except DatabaseError as error:
            raise StoreBusy(str(error)) from error

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
    """How much of something an organisation may have a day: of all together, or of each `by` whom it comes. Starts anew
    with the process.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._day = ""
        self._spent: Counter[tuple[int, str]] = Counter()

    def spend(self, arrival: Arrival, amount: int, *, by: str = "", besides: int = 0) -> bool:
        """False, and nothing is spent: it would go beyond the limit and what there is `besides`."""
        day = arrival.received_at.date().isoformat()
        if day != self._day:
            self._day = day
            self._spent.clear()
        key = arrival.address.organisation_id, by
        if self._spent[key] + amount > self._limit + besides:
            return False
        self._spent[key] += amount
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
