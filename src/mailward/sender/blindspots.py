"""What Postfix's datagrams leave out, from its log and our own look at MX hosts: tallies for the counts.

    spots = BlindSpots(settings, cache, resolver, place)
    spots.add(ordered)                       # datagrams, as they come
    tallies, place = spots.take()            # to be committed together, the place too
    await spots.run()                        # follows the log until cancelled

Core decides (`core.tlsrpt.joining`, `core.tlsrpt.blindspots`); here are its log, policies, records and hosts.
"""

import asyncio
import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mailward.config import Settings
from mailward.core.mtasts.policy import Mode
from mailward.core.names import Domain, matches_mx
from mailward.core.sending.facts import Level
from mailward.core.sending.overrides import Override, OverridesInvalid, find_override
from mailward.core.tlsrpt.blindspots import (
    correct_signal,
    correct_verified,
    count_unreported,
    count_without_policy,
    patterns_in_testing,
    sts_label,
)
from mailward.core.tlsrpt.counting import Tally
from mailward.core.tlsrpt.joining import Joiner, Kind, Session, Signal
from mailward.core.tlsrpt.record import SECTION, VERSION, RecordError
from mailward.core.txt import pick_record
from mailward.net import clock
from mailward.net.resolver import Resolver, Status
from mailward.sender.cache import CacheError, PolicyCache
from mailward.sender.memory import Generations
from mailward.sender.postfixlog import PostfixLog, open_log
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.signals import QUEUE_LENGTH_FIX
from mailward.sender.verifying import Verifier
from mailward.sender.watch import read_overrides

logger = logging.getLogger("mailward.sender")

IDLE_SECONDS = 0.5  # between two looks at a log that has nothing new
AT_ONCE = 32  # sessions that are looked into side by side
MAX_LOOKS = 1000  # hosts at a time
MAX_HELD = 50_000  # sessions that wait for a look at their host
HOLD_SECONDS = 300.0  # so long a success waits for it; reports are made 15 minutes after midnight
MAX_KEPT = 20_000
KEPT_SECONDS = 300.0  # records and MX hosts
FAILED_SECONDS = 30.0
RETRIES = 3  # of lookups that fail
OVERRIDES_SECONDS = 60.0
TELL_SECONDS = 3600.0
ALARM_SECONDS = 60.0  # between two lines about signals that were not sent
_OPPORTUNISTIC = (Level.MAY.value, Level.DANE.value)


class _LookupFailed(Exception):
    """DNS does not say, now."""


class BlindSpots:
    def __init__(
        self,
        settings: Settings,
        cache: PolicyCache,
        resolver: Resolver,
        place: str | None,
        verifier: Verifier | None = None,
        numbers: SignalNumbers | None = None,
    ) -> None:
        """`place`: of the log, as it was committed last. `cache` is only read. `numbers`: what metrics show."""
        self._settings, self._cache, self._resolver, self._verifier = settings, cache, resolver, verifier
        self._numbers = numbers or SignalNumbers()
        self._joiner = Joiner(own_senders(settings))
        self._log: PostfixLog = open_log(settings.tlsrpt.log, place, settings.tlsrpt.journal_command)
        self._is_first = True
        """Nothing was read yet."""
        self._lock = threading.Lock()
        self._tallies: list[Tally] = []
        self._place = place
        self._records: Generations[Domain, tuple[float, str]] = Generations(MAX_KEPT)
        self._hosts: Generations[Domain, tuple[float, tuple[str, ...]]] = Generations(MAX_KEPT)
        self._again: deque[tuple[float, int, Session]] = deque(maxlen=MAX_KEPT)
        self._looks: dict[tuple[str, str], list[tuple[float, Session]]] = {}
        self._held = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._overrides: tuple[Override, ...] | None = ()
        self._overrides_at = float("-inf")
        self._tell_at = clock.monotonic() + TELL_SECONDS
        self._not_sent_at = float("-inf")
        self.counted: Counter[str] = Counter()
        """By kind of session and what became of it, for the log and metrics."""

    def add(self, signals: Iterable[Signal]) -> None:
        """Datagrams that were counted, one session each, in the order of their coming."""
        now = clock.monotonic()
        for signal in signals:
            self._joiner.add_signal(signal, now)

    def take(self) -> tuple[list[Tally], str | None]:
        """What is new, and the place in the log up to which it holds: to be committed after the datagrams that were
        added before, and together. Any thread may call this, and nothing else.
        """
        with self._lock:
            tallies, self._tallies = self._tallies, []
            return tallies, self._place

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                more = await self.step()
                if not more:
                    await asyncio.sleep(IDLE_SECONDS)
                if clock.monotonic() >= self._tell_at:
                    self._tell()
        finally:
            self._tell()
            await self.close()

    async def step(self) -> bool:
        """Read what is new, and conclude what has settled; whether there is more to read."""
        is_full = False
        if not self._joiner.must_settle():
            before = clock.now().timestamp()
            batch = await self._log.read()
            if self._is_first and not batch.has_gap:
                self._joiner.watch_from(before)
            self._is_first = False
            if batch.has_gap:
                logger.warning("log-lines-lost", extra={"file": self._settings.tlsrpt.log})
                self._joiner.forget_log()
            now = clock.monotonic()
            for entry, place in batch.entries:
                self._joiner.add_entry(entry, place, now)
            is_full = batch.is_full
        await self._conclude(self._joiner.settle(clock.monotonic()))
        self._tell_not_sent()
        if self._joiner.place is not None:
            with self._lock:
                self._place = self._joiner.place
        return is_full

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._log.close()

    def _tell(self) -> None:
        """What came of it since the last time."""
        self._tell_at = clock.monotonic() + TELL_SECONDS
        counted, self.counted = self.counted, Counter()
        counted["clear-not-sure"], self._joiner.unknown = self._joiner.unknown, 0
        counted["without-line"], self._joiner.unjoined = self._joiner.unjoined, 0
        if facts := {name: count for name, count in sorted(counted.items()) if count}:
            logger.info("log-counted", extra=facts)

    def _tell_not_sent(self) -> None:
        count, self._joiner.not_sent = self._joiner.not_sent, 0
        self._numbers.add(Number.NOT_SENT, count)
        self.counted["not-sent"] += count
        if count and clock.monotonic() >= self._not_sent_at + ALARM_SECONDS:
            self._not_sent_at = clock.monotonic()
            logger.error("signals-not-sent", extra={"count": count, "fix": QUEUE_LENGTH_FIX})

    async def _conclude(self, sessions: Sequence[Session]) -> None:
        unreported = []
        for session in sessions:
            if session.kind is Kind.TLS:
                self._correct(session)
            else:
                unreported.append((0, session))
        now = clock.monotonic()
        while self._again and self._again[0][0] <= now:
            _, tries, session = self._again.popleft()
            unreported.append((tries, session))
        await asyncio.gather(*(self._count(session, tries) for tries, session in unreported))

    def _correct(self, session: Session) -> None:
        tally = correct_signal(session)
        if tally is not None:
            self._book(tally, "outside")
        elif (
            self._verifier is not None and session.signal and patterns_in_testing(session.signal.tally.policy)
        ):
            self._hold(session)

    def _hold(self, session: Session) -> None:
        """Until its host was looked at."""
        host = (session.host, session.address)
        if self._held >= MAX_HELD or (host not in self._looks and len(self._looks) >= MAX_LOOKS):
            self.counted["not-looked-at"] += 1
            return
        self._held += 1
        waiting = self._looks.setdefault(host, [])
        waiting.append((clock.monotonic(), session))
        if len(waiting) == 1:
            task = asyncio.get_running_loop().create_task(self._verify(*host))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _verify(self, host: str, address: str) -> None:
        assert self._verifier is not None  # noqa: S101 - nobody waits without one
        try:
            seen = await self._verifier.look(host, address)
        finally:
            waiting = self._looks.pop((host, address))
            self._held -= len(waiting)
        latest = clock.monotonic() - HOLD_SECONDS
        for since, session in waiting:
            # Postfix has had TLS with it: only what was shown there can be corrected
            if since < latest or not seen.is_certificate or seen.result is None:
                continue
            tally = correct_verified(session, seen.result, seen.reason)
            if tally is not None:
                self._book(tally, seen.result)

    async def _count(self, session: Session, tries: int) -> None:
        """A session without a datagram."""
        try:
            async with self._slots:
                tally = await self._unreported(session)
        except _LookupFailed:
            if tries < RETRIES:
                due = clock.monotonic() + FAILED_SECONDS
                self._again.append((due, tries + 1, session))
            else:
                self.counted["record-not-known"] += 1
        except CacheError as error:
            self.counted["policy-not-known"] += 1
            logger.error("cache-unreadable", extra={"domain": session.domain, "reason": str(error)})
        else:
            if tally is not None:
                self._book(tally, session.kind)

    async def _unreported(self, session: Session) -> Tally | None:
        """Raises CacheError or _LookupFailed."""
        domain = session.domain
        if self._settings.sender.mode != "enforce" or self._is_overridden(domain):
            return None  # Postfix was told something else than the policy
        entry = await self._cache.load(domain)
        if entry is None or entry.cached.policy.mode is Mode.NONE:
            return await self._without_policy(session)
        if not entry.cached.is_live(int(session.at)):
            return await self._without_policy(session)
        policy = entry.cached.policy
        label = sts_label(domain, policy, self._settings.sender.default_level)
        if count_unreported(session, policy, label, "") is None:
            return None
        if session.kind is Kind.CLEAR and not await self._is_mx(session, policy.mx):
            self.counted["other-route"] += 1
            return None
        record = await self._record(domain)
        return count_unreported(session, policy, label, record) if record else None

    async def _without_policy(self, session: Session) -> Tally | None:
        """Raises _LookupFailed."""
        # at other levels Postfix does not ask for TLS, or does not do without
        if session.kind is not Kind.CLEAR or self._settings.sender.default_level not in _OPPORTUNISTIC:
            return None
        record = await self._record(session.domain)
        if not record:
            return None
        if not await self._is_mx(session, ()):
            self.counted["other-route"] += 1
            return None
        return count_without_policy(session, record)

    async def _is_mx(self, session: Session, patterns: Sequence[str]) -> bool:
        """Whether mail went there since the domain says so, and not by a table of the operator's. Raises
        _LookupFailed.
        """
        if any(matches_mx(pattern, session.host) for pattern in patterns):
            return True
        kept = self._hosts.get(session.domain)
        if kept is None or kept[0] <= clock.monotonic():
            answer = await self._resolver.mx(session.domain)
            if answer.status is Status.FAILED:
                raise _LookupFailed
            hosts = answer.records or (session.domain,)
            kept = (clock.monotonic() + KEPT_SECONDS, tuple(host.lower().rstrip(".") for host in hosts))
            self._hosts.put(session.domain, kept)
        return session.host in kept[1]

    async def _record(self, domain: Domain) -> str:
        """The TLSRPT record, as Postfix would have seen it; empty: nobody wants reports. Raises _LookupFailed."""
        kept = self._records.get(domain)
        if kept is not None and kept[0] > clock.monotonic():
            return kept[1]
        answer = await self._resolver.txt(f"_smtp._tls.{domain}")
        if answer.status is Status.FAILED:
            raise _LookupFailed
        try:
            record = pick_record(
                answer.records, VERSION, SECTION
            )  # what is in it, who makes the reports reads
        except RecordError:
            record = ""
        self._records.put(domain, (clock.monotonic() + KEPT_SECONDS, record))
        return record

    def _is_overridden(self, domain: Domain) -> bool:
        now = clock.monotonic()
        if self._settings.sender.overrides and now >= self._overrides_at + OVERRIDES_SECONDS:
            self._overrides_at = now
            try:
                self._overrides = read_overrides(Path(self._settings.sender.overrides))
            except OverridesInvalid:  # the policy server says so
                self._overrides = None
        if self._overrides is None:
            return True  # not known
        return find_override(self._overrides, domain, clock.today()) is not None

    def _book(self, tally: Tally, what: str) -> None:
        with self._lock:
            self._tallies.append(tally)
        self.counted[what] += 1


def own_senders(settings: Settings) -> Callable[[str], bool]:
    """Whether an envelope sender is that of our report mails."""
    written = settings.tlsrpt.envelope_sender or settings.tlsrpt.contact
    if not written:
        return lambda sender: False
    form = re.compile(".{1,100}".join(re.escape(part) for part in written.split("*")), re.IGNORECASE)
    return lambda sender: form.fullmatch(sender) is not None
