"""What is known of DANE for each next hop: looked up once for all who ask, and not forgotten by one failing lookup."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.postfix.nexthop import NextHop
from mailward.net import clock
from mailward.sender.cache import CacheError, PolicyCache
from mailward.sender.discovery import Discovery
from mailward.sender.flights import Flights
from mailward.sender.memory import Generations
from mailward.sender.metrics import Metrics

logger = logging.getLogger("mailward.sender")

MAX_KNOWN = 10_000  # next hops in memory
MAX_FLIGHTS = 2_000  # discoveries at a time
MIN_SECONDS, MAX_SECONDS = 30.0, 3600.0
LAST_GOOD_SECONDS = 86_400.0  # full DANE is not forgotten because a lookup fails
NOTE_SECONDS = 3600.0  # how often the cache is told of it

DANE_OFF = DaneFinding(DaneState.OFF, "DANE is off")
_NOT_VALIDATED_YET = DaneFinding(DaneState.UNKNOWN, "whether the resolver validates is not known yet")


@dataclass(slots=True)
class Known:
    finding: DaneFinding
    fresh_until: float
    full_at: float = field(default=float("-inf"))
    """When it was full for the last time."""
    noted_at: float = field(default=float("-inf"))
    """When the cache was told that it is full."""


class DaneKnowledge:
    def __init__(
        self, cache: PolicyCache, discovery: Discovery, metrics: Metrics, now: Callable[[], int]
    ) -> None:
        """`now`: seconds since 1970, as far as the clock can be believed."""
        self.is_on = False
        self.validation_seen = asyncio.Event()
        """Set when it is known whether DANE is looked for; until then answers wait, or call it unknown."""
        self._cache = cache
        self._discovery = discovery
        self._metrics = metrics
        self._now = now
        self._known: Generations[NextHop, Known] = Generations(MAX_KNOWN)
        self._flights = Flights(MAX_FLIGHTS)

    @property
    def is_known_off(self) -> bool:
        return self.validation_seen.is_set() and not self.is_on

    async def find(self, nexthop: NextHop, deadline: float) -> tuple[DaneFinding, float]:
        """The finding, and until when it can be kept (monotonic)."""
        if not self.validation_seen.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.validation_seen.wait(), max(deadline - clock.monotonic(), 0))
        if not self.validation_seen.is_set():
            return _NOT_VALIDATED_YET, 0.0
        if not self.is_on:
            return DANE_OFF, float("inf")
        known = self._known.get(nexthop)
        if known is None or known.fresh_until <= clock.monotonic():
            if not await self._flights.join(nexthop, lambda: self._discover(nexthop), deadline):
                self._metrics.late_answers += 1
                late = DaneFinding(DaneState.UNKNOWN, f"MX {nexthop.domain}: no answer yet")
                return _last_good(await self._recall(nexthop), late), 0.0
            known = self._known.get(nexthop)
        if known is None:  # forgotten at once: more next hops at a time than memory has room for
            return DaneFinding(DaneState.UNKNOWN, "too many questions at a time"), 0.0
        return known.finding, known.fresh_until

    async def was_seen(self) -> bool:
        """Whether an earlier process found a domain with full DANE lately: so the resolver validated then."""
        try:
            at = await self._cache.last_dane_at()
        except CacheError:
            return False
        return at is not None and self._now() - at < LAST_GOOD_SECONDS

    def forget(self) -> None:
        self._known.clear()

    async def close(self) -> None:
        await self._flights.close()

    async def _discover(self, nexthop: NextHop) -> None:
        self._metrics.dane_lookups += 1
        finding, ttl = await self._discovery.find_dane(nexthop)
        before = await self._recall(nexthop)
        now = clock.monotonic()
        full_at = before.full_at if before else float("-inf")
        if finding.state is DaneState.FULL:
            full_at = now
        kept = _last_good(before, finding)
        seconds = min(max(ttl, MIN_SECONDS), MAX_SECONDS)
        self._known.put(nexthop, Known(kept, now + seconds, full_at))
        if finding.state is DaneState.FULL and (before is None or now - before.noted_at > NOTE_SECONDS):
            await self._note(nexthop)

    async def _recall(self, nexthop: NextHop) -> Known | None:
        """From memory, or what an earlier process has left in the cache: that it was full, and when."""
        known = self._known.get(nexthop)
        if known is not None:
            return known
        try:
            full_at = await self._cache.dane_full_at(str(nexthop))
        except CacheError:
            self._metrics.cache_errors += 1
            return None
        if full_at is None:
            return None
        age = max(self._now() - full_at, 0)
        return Known(DaneFinding(DaneState.FULL), 0.0, clock.monotonic() - age)

    async def _note(self, nexthop: NextHop) -> None:
        try:
            await self._cache.note_dane(str(nexthop), self._now(), self._now() - int(LAST_GOOD_SECONDS))
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-not-written", extra={"domain": nexthop.domain, "reason": str(error)})
            return
        if (known := self._known.get(nexthop)) is not None:
            known.noted_at = clock.monotonic()


def _last_good(known: Known | None, finding: DaneFinding) -> DaneFinding:
    """Full DANE that was seen lately, where it cannot be looked up now: an attacker could be why."""
    if (
        finding.state is DaneState.UNKNOWN
        and known is not None
        and clock.monotonic() - known.full_at < LAST_GOOD_SECONDS
    ):
        return DaneFinding(DaneState.FULL, f"as seen before; now: {finding.reason}", known.finding.hosts)
    return finding
