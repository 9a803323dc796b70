"""What is known of each domain, for how long, and how it comes to be known: once for all who ask.

Reading is instant where something is known; otherwise one discovery a domain runs, whoever asks waits for it,
and at the deadline everybody is answered with what there is. A live policy answers at once, whatever DNS and
HTTPS do: its record and its policy are looked at again in the background (`refresh`). DANE is in `daneknowledge`.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial

from mailward.core.dane.judge import DaneFinding
from mailward.core.mtasts.decide import (
    DAY_SECONDS,
    BackOff,
    Cached,
    Expired,
    Failure,
    Fetch,
    Refresh,
    Use,
    decide,
)
from mailward.core.mtasts.policy import Level, Mode, Problem
from mailward.core.mtasts.record import Record
from mailward.core.names import Domain
from mailward.core.postfix.nexthop import NextHop
from mailward.core.sending.facts import StsFinding, StsState
from mailward.net import clock
from mailward.net.fetch import FetchError
from mailward.sender.believed import BelievedTime
from mailward.sender.cache import CacheError, DamagedEntry, Entry, PolicyCache
from mailward.sender.daneknowledge import DANE_OFF, DaneKnowledge
from mailward.sender.discovery import Discovery, RecordFinding
from mailward.sender.flights import Flights
from mailward.sender.memory import Generations
from mailward.sender.metrics import Metrics
from mailward.sender.unmet import Unmet

logger = logging.getLogger("mailward.sender")

ANSWER_SECONDS = 4.8  # Postfix 3.7 gives up a connection after ten idle seconds; ours is promised in five
MAX_STATES = 10_000  # domains in memory, about a KiB each; the others are read from the cache when asked for
MAX_FLIGHTS = 2_000  # discoveries at a time
LIVE_SECONDS = 300.0  # a live policy is looked at again after this, at the latest
MIN_NEGATIVE_SECONDS, MAX_NEGATIVE_SECONDS = 60.0, 3600.0
FAILED_SECONDS = 30.0  # a failed lookup is tried again soon
# What the cache held then is not read again where a policy is to be fetched: at worst two workers fetch it
JUST_READ_SECONDS = 1.0
TOUCH_SECONDS = 3600.0
MAX_UNWRITTEN = 50_000  # policies that only memory holds while the disk is full

_UNKNOWN_YET = StsFinding(StsState.ABSENT)


@dataclass(slots=True)
class DomainState:
    """What memory holds of a domain. Deadlines are monotonic seconds."""

    entry: Entry | None = None
    finding: StsFinding = _UNKNOWN_YET
    """Where no policy is live."""
    fresh_until: float = 0.0
    """Of `finding`."""
    failure: Failure | None = None
    """Of first fetches: those of refreshes are in the entry."""
    damaged: DamagedEntry | None = None
    """What the cache has in place of `entry`."""
    waits_for: str = ""
    """The question that its discovery waits for."""
    recheck_at: float = 0.0
    """When the record of a live policy is looked at again."""
    read_at: float = float("-inf")
    """When the cache was asked for `entry`, until the discovery that follows."""
    used_at: float = 0.0
    touched_at: float = float("-inf")
    """When the cache was told of the use."""
    is_forgotten: bool = False
    """A command has changed the domain in the cache since."""


class Knowledge:
    def __init__(
        self, cache: PolicyCache, discovery: Discovery, metrics: Metrics, recheck_seconds: float
    ) -> None:
        self.cache = cache
        self.discovery = discovery
        self.on_change: Callable[[Domain], None] = lambda domain: None
        """Called when what was said of a domain may no longer be true."""
        self.on_learned: Callable[[Domain], None] = lambda domain: None
        """Called when the cache has a policy that it had not, before anybody is answered by it."""
        self.on_unmet: Callable[[Unmet], None] = lambda unmet: None
        """Called when a policy could not be fetched: once for each fetch that failed, whether mail has asked or not."""
        self.dane = DaneKnowledge(cache, discovery, metrics, self.now)
        self.forgotten = 0
        """How often `forget` was called."""
        self._metrics = metrics
        self._recheck_seconds = recheck_seconds
        self._states: Generations[Domain, DomainState] = Generations(MAX_STATES)
        self._flights = Flights(MAX_FLIGHTS)
        self._time: BelievedTime | None = None
        self._unwritten: dict[Domain, Entry] = {}
        """Learned, and not in the cache, which could not take it: all that stands between them and being forgotten."""

    def now(self) -> int:
        """Seconds since 1970, as far as the clock can be believed."""
        if self._time is None:
            try:
                self._time = BelievedTime(self.cache.last_use())
            except CacheError:  # not known; what the cache holds cannot be read either, and is not judged
                return int(clock.now().timestamp())
        return self._time.now()

    def today(self) -> date:
        """The UTC day: overrides end with it."""
        return datetime.fromtimestamp(self.now(), UTC).date()

    async def sts(self, domain: Domain, deadline: float) -> tuple[StsFinding, float]:
        """The finding, and until when it can be kept (monotonic)."""
        try:
            return await self._find(domain, deadline)
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-unreadable", extra={"domain": domain, "reason": str(error)})
            return StsFinding(StsState.UNREADABLE, reason=str(error)), 0.0

    async def _find(self, domain: Domain, deadline: float) -> tuple[StsFinding, float]:
        """Raises CacheError."""
        state = await self.state(domain)
        state.used_at = clock.monotonic()
        while (live := self._live(state)) is None and state.fresh_until <= clock.monotonic():
            done = await self._flights.join(domain, partial(self._discover, domain, state), deadline)
            if not done:
                self._metrics.late_answers += 1
                return self._unreadable(state) or _late(state), 0.0
            if state.is_forgotten:
                state = await self.state(domain)
            elif state.entry is None and state.fresh_until <= clock.monotonic():
                # what was under way was the discovery of a state that is forgotten
                await self._catch_up(domain, state)
        return live or (state.finding, state.fresh_until)

    async def state(self, domain: Domain) -> DomainState:
        """Raises CacheError where nothing at all can be said."""
        state = self._states.get(domain)
        if state is None:
            state = DomainState()
            try:
                state.entry = self._unwritten.get(domain) or await self.cache.load(domain)
            except DamagedEntry as error:
                self._metrics.cache_errors += 1
                logger.error("cache-unreadable", extra={"domain": domain, "reason": str(error)})
                state.damaged = error
            state.read_at = clock.monotonic()
            self._states.put(domain, state)
        return state

    @property
    def damaged_count(self) -> int:
        """Domains in memory whose entry in the cache cannot be read, and which could not be fetched again yet."""
        return sum(state.damaged is not None for state in self._states.values())

    def due_for_recheck(self, limit: int) -> list[Domain]:
        """Domains with a live policy that get mail, and whose record was not looked at lately."""
        now = clock.monotonic()
        due = [
            state.entry.domain
            for state in self._states.values()
            if state.entry is not None
            and state.recheck_at <= now
            and now - state.used_at < 10 * self._recheck_seconds
        ]
        return due[:limit]

    async def touch(self) -> None:
        """Tell the cache which policies are used, once an hour each. Raises CacheError."""
        now = clock.monotonic()
        used = [
            state
            for state in self._states.values()
            if state.entry is not None
            and state.used_at > state.touched_at
            and now - state.touched_at > TOUCH_SECONDS
        ]
        for state in used:
            state.touched_at = now
        await self.cache.touch([state.entry.domain for state in used if state.entry is not None], self.now())

    async def refresh(self, domain: Domain) -> None:
        """Look at the record again, and fetch the policy where that is due. A live policy outlives every failure."""
        try:
            state = await self.state(domain)
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-unreadable", extra={"domain": domain, "reason": str(error)})
            return
        await self._flights.join(domain, lambda: self._discover(domain, state), None)

    def hear_of(self, domain: Domain, fetched_at: int | None = None) -> None:
        """Another process has learned a policy: do not go on saying that there is none, or another.

        `fetched_at`: when that was; memory keeps what was fetched then or later, and not in the future.
        """
        state = self._states.get(domain)
        if state is None or domain in self._unwritten:
            return
        held_at = state.entry.cached.fetched_at if state.entry else None
        if fetched_at is not None and held_at is not None and fetched_at <= held_at <= self.now():
            return
        self._states.pop(domain)
        self.on_change(domain)

    def hear_of_many(self) -> None:
        """More than can be named."""
        self._states.clear()

    def forget(self, domain: Domain) -> None:
        """A command has changed it in the cache."""
        if (state := self._states.pop(domain)) is not None:
            state.is_forgotten = True
        self.forgotten += 1
        self._unwritten.pop(domain, None)
        self.on_change(domain)

    async def close(self) -> None:
        await self._flights.close()
        await self.dane.close()
        await self.cache.close()

    async def _discover(self, domain: Domain, state: DomainState) -> None:
        self._metrics.record_lookups += 1
        state.waits_for = f"TXT _mta-sts.{domain}"
        found = await self.discovery.find_record(domain)
        self._metrics.record_failures += found.has_failed
        state.recheck_at = clock.monotonic() + self._recheck_seconds
        was_just_read = clock.monotonic() - state.read_at < JUST_READ_SECONDS
        state.read_at = float("-inf")
        if found.record is None or not was_just_read:
            await self._catch_up(domain, state)
        entry = state.entry
        cached = entry.cached if entry else None
        failure = state.failure or (entry.failure if entry else None)
        record = found.record
        if record is None and self._unreadable(state) is not None:
            record = Record("")  # there was a policy, which needs no record to hold
        step = decide(cached, record, failure, self.now(), _jitter(domain, cached))
        if isinstance(step, Use):
            await self._bring_forward(domain, state)
            return
        if isinstance(step, Refresh | Fetch):
            await self._fetch(domain, state, found, failure)
            return
        self._conclude(domain, state, _without_policy(step, found), self._negative_seconds(step, found))

    async def _bring_forward(self, domain: Domain, state: DomainState) -> None:
        """A refresh that was put off while the clock was ahead."""
        entry = state.entry
        latest = max(self.now(), int(clock.timestamp())) + DAY_SECONDS
        if entry is not None and entry.refresh_at > latest:
            refresh_at = min(entry.cached.refresh_at(_jitter(domain, entry.cached)), self.now() + DAY_SECONDS)
            state.entry = await self._note(replace(entry, refresh_at=refresh_at))

    async def _catch_up(self, domain: Domain, state: DomainState) -> None:
        """Take what another process on the same cache has learned since."""
        try:
            kept = await self.cache.load(domain)
        except CacheError:
            self._metrics.cache_errors += 1  # what memory holds is good; the next who must read hears of it
            return
        state.damaged = None
        before = state.entry
        if kept is not None and (before is None or self._is_older(before, kept)):
            state.entry = kept
            if before is None or before.cached.policy != kept.cached.policy:
                self.on_change(domain)

    def _is_older(self, entry: Entry, kept: Entry) -> bool:
        """Than what the cache has. One fetched in the future was replaced since, unless it is still to be written."""
        is_ahead = entry.cached.fetched_at > self.now() and entry.domain not in self._unwritten
        return is_ahead or _when(kept) > _when(entry)

    async def _fetch(
        self, domain: Domain, state: DomainState, found: RecordFinding, failure: Failure | None
    ) -> None:
        policy_id = found.record.policy_id if found.record else ""
        if not policy_id and state.entry is not None:
            policy_id = state.entry.cached.policy_id
        self._metrics.fetches += 1
        state.waits_for = f"GET https://mta-sts.{domain}/.well-known/mta-sts.txt"
        try:
            fetched = await self.discovery.fetch(domain)
        except FetchError as error:
            self._metrics.fetch_failures[error.code] += 1
            count = (failure.count if failure else 0) + 1
            await self._note_failure(
                domain, state, Failure(policy_id, self.now(), count, str(error), error.code)
            )
            self._tell_unmet(domain, state, error)
            return
        if self._time is not None and fetched.served_at is not None:
            self._time.confirm(fetched.served_at)
        cached = Cached(fetched.policy, policy_id, self.now())
        entry = Entry(domain, cached, None, cached.refresh_at(_jitter(domain, cached)))
        before = state.entry
        state.entry, state.failure, state.damaged = entry, None, None
        if not await self._keep(entry):
            await self._catch_up(domain, state)
            return
        if before is None or before.cached.policy != cached.policy or not before.cached.is_live(self.now()):
            self._metrics.policy_changes += 1
            self.on_learned(domain)
            logger.info("policy-learned", extra=_learned(entry, fetched.problems))
            self.on_change(domain)

    async def _note_failure(self, domain: Domain, state: DomainState, failure: Failure) -> None:
        entry = state.entry
        if entry is not None and entry.cached.is_live(self.now()):
            noted = replace(entry, failure=failure, refresh_at=failure.retry_at(failure.policy_id))
            state.entry = await self._note(noted)
            if state.entry is noted:
                self._tell_refresh_failed(noted, failure)
                return
            self.on_change(domain)
            if state.entry is not None and state.entry.cached.is_live(self.now()):
                return
        if state.damaged is not None:
            await self._put_off(state.damaged, failure)
        state.failure = failure
        finding = StsFinding(StsState.FETCH_FAILED, reason=failure.reason)
        self._conclude(
            domain, state, finding, max(failure.retry_at(failure.policy_id) - self.now(), FAILED_SECONDS)
        )

    def _tell_refresh_failed(self, entry: Entry, failure: Failure) -> None:
        if entry.cached.policy.mode is Mode.NONE:  # RFC 8461 §10.2: the end of a policy is no failure
            return
        left = (entry.cached.expires_at - self.now()) // 3600
        facts = {"domain": entry.domain, "count": failure.count, "hours_left": left, "reason": failure.reason}
        logger.warning("refresh-failed", extra=facts)

    def _tell_unmet(self, domain: Domain, state: DomainState, error: FetchError) -> None:
        live = self._live(state)
        used = live[0].policy if live else None
        # RFC 8461 §6: "except if that policy's mode is none"
        if used is None or used.mode is not Mode.NONE:
            self.on_unmet(Unmet(domain, error.result_type, error.code, used))

    async def _note(self, entry: Entry) -> Entry | None:
        """The entry; or what the cache has in its place, where it was purged or fetched again by another process."""
        if entry.domain in self._unwritten:
            self._unwritten[entry.domain] = entry
            return entry
        try:
            noted = await self.cache.note(
                entry.domain, entry.cached.fetched_at, entry.failure, entry.refresh_at
            )
            return entry if noted else await self.cache.load(entry.domain)
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-not-written", extra={"domain": entry.domain, "reason": str(error)})
            return entry

    async def _put_off(self, damaged: DamagedEntry, failure: Failure) -> None:
        """Lest it is due all the time, before all others."""
        retry_at = failure.retry_at(failure.policy_id)
        try:
            await self.cache.note(damaged.domain, damaged.fetched_at, failure, retry_at)
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-not-written", extra={"domain": damaged.domain, "reason": str(error)})

    async def _keep(self, entry: Entry) -> bool:
        """False where the cache has a later one. A policy that cannot be written down is still used, and written later:
        to forget it would be worse.
        """
        try:
            is_kept = await self.cache.put(entry)
        except CacheError as error:
            self._metrics.cache_errors += 1
            logger.error("cache-not-written", extra={"domain": entry.domain, "reason": str(error)})
            if entry.domain in self._unwritten or len(self._unwritten) < MAX_UNWRITTEN:
                self._unwritten[entry.domain] = entry
            return True
        self._unwritten.pop(entry.domain, None)
        return is_kept

    async def write_again(self) -> None:
        """What the cache could not take, until it refuses once more. Raises CacheError."""
        for domain, entry in list(self._unwritten.items()):
            await self.cache.put_late(entry)
            if self._unwritten.get(domain) is entry:
                del self._unwritten[domain]

    def _conclude(self, domain: Domain, state: DomainState, finding: StsFinding, seconds: float) -> None:
        finding = self._unreadable(state) or finding
        changed = state.finding.state is not finding.state
        state.finding = finding
        state.fresh_until = clock.monotonic() + min(seconds, MAX_NEGATIVE_SECONDS)
        if changed:
            self.on_change(domain)

    def _live(self, state: DomainState) -> tuple[StsFinding, float] | None:
        entry = state.entry
        if entry is None:
            return None
        left = entry.cached.expires_at - self.now()
        if left <= 0:
            return None
        return StsFinding(StsState.LIVE, entry.cached.policy), clock.monotonic() + min(left, LIVE_SECONDS)

    def _unreadable(self, state: DomainState) -> StsFinding | None:
        """Until a fetch succeeds, or the policy that cannot be read has ended."""
        if state.damaged is None or state.damaged.expires_at <= self.now():
            return None
        return StsFinding(StsState.UNREADABLE, reason=str(state.damaged))

    def _negative_seconds(self, step: object, found: RecordFinding) -> float:
        if isinstance(step, BackOff):
            return max(step.until - self.now(), FAILED_SECONDS)
        if found.has_failed:
            return FAILED_SECONDS
        return min(max(found.ttl_seconds, MIN_NEGATIVE_SECONDS), MAX_NEGATIVE_SECONDS)


def _late(state: DomainState) -> StsFinding:
    # RFC 8461 §3.3: what is not fetched in time is not fetched; the discovery goes on for the next who asks
    is_fetching = state.waits_for.startswith("GET ")
    reason = f"{state.waits_for}: no answer yet" if state.waits_for else "too many questions at a time"
    return StsFinding(StsState.FETCH_FAILED if is_fetching else StsState.RECORD_FAILED, reason=reason)


def _learned(entry: Entry, problems: Sequence[Problem]) -> dict[str, object]:
    policy = entry.cached.policy
    warnings = [problem.code for problem in problems if problem.level is Level.WARNING]
    facts = {"domain": entry.domain, "id": entry.cached.policy_id, "mode": policy.mode.value}
    return facts | {"max_age": policy.max_age_seconds, "findings": ",".join(warnings) or "-"}


def _without_policy(step: object, found: RecordFinding) -> StsFinding:
    if isinstance(step, BackOff):
        return StsFinding(StsState.FETCH_FAILED, reason=step.reason)
    if found.has_failed:
        return StsFinding(StsState.RECORD_FAILED, reason=found.reason)
    if isinstance(step, Expired):
        return StsFinding(StsState.EXPIRED, reason=f"the policy has ended, and there is {found.reason}")
    return StsFinding(StsState.ABSENT, reason=found.reason)


def _when(entry: Entry) -> tuple[int, int]:
    """Of its fetch, and of the last attempt at another one: whoever made it, the pause after it is for all."""
    return entry.cached.fetched_at, entry.failure.failed_at if entry.failure else 0


def _jitter(domain: Domain, cached: Cached | None) -> float:
    """0 to 1, the same for one fetch of a domain whenever it is asked for."""
    return zlib.crc32(f"{domain} {cached.fetched_at if cached else 0}".encode()) / 2**32


async def gather_facts(
    knowledge: Knowledge, nexthop: NextHop, seconds: float = ANSWER_SECONDS
) -> tuple[DaneFinding, StsFinding, float]:
    """Both findings within so many seconds, and until when both can be kept (monotonic)."""
    deadline = clock.monotonic() + seconds
    if knowledge.dane.is_known_off:
        finding, until = await knowledge.sts(nexthop.domain, deadline)
        return DANE_OFF, finding, until
    (dane, dane_until), (sts, sts_until) = await asyncio.gather(
        knowledge.dane.find(nexthop, deadline), knowledge.sts(nexthop.domain, deadline)
    )
    return dane, sts, min(dane_until, sts_until)
