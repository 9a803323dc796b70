"""Speaks to MX hosts for all domains together: each address once a day, one connection at a time, so many an hour."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from mailward.config import Settings
from mailward.core.check.facts import Reach, Session
from mailward.core.watch.keeping import says_something
from mailward.net import clock
from mailward.net.ciphers import MAX_OFFERS, list_ciphers
from mailward.net.guard import AddressRefused, OwnAddressRefused, make_probe_guard
from mailward.net.mailer import own_name
from mailward.net.quota import too_many
from mailward.net.smtpdial import Caller, Patience, dial, dial_deep
from mailward.store.aio import in_store
from mailward.store.services import mxlooks
from mailward.store.services.mxlooks import Claim, Heat, Known

DIALS = 16
"""Connections at a time, of this process."""
DEPTH_CONNECTIONS = 5
DEEP_CONNECTIONS = DEPTH_CONNECTIONS + MAX_OFFERS
"""The most that a deep look needs beyond the first; what it does not need is given back."""
_BUSY_PAUSE = 0.5
_REMEMBERED = timedelta(seconds=60)
_MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Wish:
    """How new what is known has to be."""

    at_most: timedelta | None = None
    """None: as new as the state of the host asks for."""
    is_deep: bool = False
    """Whether versions, ciphers and a slipped-in command may be tried, where that is due."""
    deep_at_most: timedelta | None = None
    """How old that may be, where a person asks; None: as the settings say."""


@dataclass(frozen=True, slots=True)
class Answer:
    known: Known
    session: Session
    """What to judge by."""
    look_id: int | None = None
    """Where that session is kept; None: it says nothing, and is not."""
    why_old: str = ""
    """Why there is nothing newer, where a look was tried in vain."""


@dataclass(slots=True)
class _Flight:
    """Who asks about one address at the same time waits for the first, and then knows as much."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Sessions:
    """One a process. What it learns is in the database: other workers, and the next start, go on from there."""

    def __init__(self, settings: Settings) -> None:
        watch = settings.watch
        self._settings, self._patience = settings, Patience()
        self._caller = Caller(
            watch.ehlo_name or own_name(),
            make_probe_guard(settings),
            Path(watch.ca_file) if watch.ca_file else None,
            watch.smtp_port,
            self._patience,
            (watch.source_v4, watch.source_v6),
        )
        self._places = asyncio.Semaphore(DIALS)
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._memory: dict[tuple[str, str], tuple[datetime, Known, Heat]] = {}

    async def look(self, host: str, address: str, until: float, wish: Wish) -> Answer:
        """What the MX host shows at this address, or showed lately. Raises nothing for what a server does."""
        try:
            self._caller.guard.check(address)
        except OwnAddressRefused as error:
            return Answer(Known(), Session(address, Reach.SILENT, reason=str(error)))
        except AddressRefused as error:
            return Answer(Known(), Session(address, Reach.FORBIDDEN, reason=str(error)))
        key = (host, address)
        flight = self._flights.setdefault(key, _Flight())
        flight.users += 1
        try:
            async with flight.lock:
                return await self._look(host, address, until, wish)
        finally:
            flight.users -= 1
            if not flight.users:
                self._flights.pop(key, None)

    async def _look(self, host: str, address: str, until: float, wish: Wish) -> Answer:
        most = self._settings.watch.probes_per_hour
        while True:
            known, heat = await self._recall(host, address)
            is_due, deep = self._is_due(host, address, known, heat, wish), self._wants_depth(known, wish)
            if not is_due and not (deep and wish.deep_at_most):
                return _answer(address, known, None)
            if clock.monotonic() >= until:
                return _not_asked(known, address, "not asked: no time was left for this domain")
            claim = await in_store(
                mxlooks.claim,
                host,
                address,
                connections=1,
                most_an_hour=most,
                lease=self._lease(deep=deep),
            )
            if claim is Claim.OURS:
                if await self._was_looked_at(host, address, known):
                    # by another worker, between our reading and our claim
                    await in_store(mxlooks.give_back, address, 1)
                    await in_store(mxlooks.release, host, address)
                    continue
                refused = await self._reserve_depth(address) if deep else ""
                if refused and not is_due:
                    await in_store(mxlooks.release, host, address)
                    return _not_asked(known, address, refused)
                return await self._dial(host, address, known, heat, deep=deep and not refused)
            if claim is Claim.FULL:
                return _not_asked(known, address, too_many(most))
            self._memory.pop((host, address), None)
            await asyncio.sleep(_BUSY_PAUSE)

    async def _was_looked_at(self, host: str, address: str, known: Known) -> bool:
        """Whether the database knows of a newer look; then it is what we remember."""
        self._memory.pop((host, address), None)
        fresh, _ = await self._recall(host, address)
        return fresh.looked_at != known.looked_at

    async def _reserve_depth(self, address: str) -> str:
        """Empty, or why not now. Whatever name it goes by: versions and ciphers are those of the machine."""
        most = self._settings.watch.deep_probes_per_hour
        key, wanted = mxlooks.deep_key(address), min(DEEP_CONNECTIONS, most)
        is_free = await in_store(mxlooks.count_connections, key, wanted, most)
        return "" if is_free else too_many(most)

    async def _recall(self, host: str, address: str) -> tuple[Known, Heat]:
        now = clock.now()
        remembered = self._memory.get((host, address))
        if remembered is None or not now - _REMEMBERED < remembered[0] <= now:
            known, heat = await in_store(lambda: (mxlooks.recall(host, address), mxlooks.heat_of(host)))
            return self._remember(host, address, known, heat)
        return remembered[1:]

    def _remember(self, host: str, address: str, known: Known, heat: Heat) -> tuple[Known, Heat]:
        if len(self._memory) >= _MAX_REMEMBERED:
            self._memory.clear()
        if heat is Heat.CALM:  # trouble is looked up each time: it is rare, and what follows should not wait
            self._memory[host, address] = (clock.now(), known, heat)
        return known, heat

    def _is_due(self, host: str, address: str, known: Known, heat: Heat, wish: Wish) -> bool:
        if known.looked_at is None or known.looked_at > clock.now():
            return True
        return clock.now() - known.looked_at >= self._pause(host, address, heat, wish)

    def _pause(self, host: str, address: str, heat: Heat, wish: Wish) -> timedelta:
        watch = self._settings.watch
        pause = timedelta(hours=watch.smtp_hours) * _spread(host, address)
        if heat is Heat.TROUBLE:
            pause = min(
                pause, timedelta(minutes=watch.trouble_minutes) * 0.8
            )  # the next check, not the one after
        elif heat is Heat.PENDING:
            pause = min(pause, timedelta(minutes=watch.confirm_minutes) * 0.8)
        return pause if wish.at_most is None else min(pause, wish.at_most)

    def _wants_depth(self, known: Known, wish: Wish) -> bool:
        days = self._settings.watch.deep_days
        if not wish.is_deep:
            return False
        if wish.deep_at_most is None and not days:
            return False
        age = timedelta(days=days) if wish.deep_at_most is None else wish.deep_at_most
        return known.deep_at is None or not known.deep_at <= clock.now() < known.deep_at + age

    def _lease(self, *, deep: bool) -> timedelta:
        patience = self._patience
        seconds = patience.total * (1 + DEPTH_CONNECTIONS * deep) + patience.many * deep
        return timedelta(seconds=seconds + 30)

    async def _dial(self, host: str, address: str, known: Known, heat: Heat, *, deep: bool) -> Answer:
        counter = _Counter(min(DEEP_CONNECTIONS, self._settings.watch.deep_probes_per_hour) if deep else 0)
        caller = replace(self._caller, quota=counter)
        was_deep = False
        try:
            async with self._places:
                session = await dial(host, address, self._caller)
                depth = known.session.depth if known.session else None
                if deep and session.tls is not None:
                    depth = await dial_deep(host, address, caller)
                    depth = replace(depth, ciphers=await list_ciphers(host, address, caller))
                    was_deep = True
                if session.tls is not None:
                    session = replace(session, depth=depth)
        except BaseException:
            await in_store(mxlooks.release, host, address)
            raise
        finally:
            if counter.left:
                await in_store(mxlooks.give_back, mxlooks.deep_key(address), counter.left)
        kept = await in_store(mxlooks.keep, host, session, was_deep=was_deep)
        self._remember(host, address, kept, heat)
        return _answer(address, kept, session)


@dataclass(slots=True)
class _Counter:
    """Spends what was reserved."""

    left: int

    async def take(self, _address: str, connections: int) -> str:
        if connections > self.left:
            return "not asked: it has had the connections that were reserved"
        self.left -= connections
        return ""


def _answer(address: str, known: Known, session: Session | None) -> Answer:
    """`session`: of just now; None: what is known will do."""
    if session is not None and says_something(session):
        return Answer(known, session, known.look_id)
    usable = known.usable(clock.now())
    if usable is not None:
        return Answer(known, usable, known.look_id, known.reason)
    return Answer(known, session or Session(address, Reach.SILENT, reason=known.reason))


def _not_asked(known: Known, address: str, reason: str) -> Answer:
    usable, told = known.usable(clock.now()), reason
    if usable is not None:
        return Answer(known, usable, known.look_id, told)
    return Answer(known, Session(address, Reach.SILENT, reason=told))


def _spread(host: str, address: str) -> float:
    """0.9 to 1.1, always the same for one address: a day's looks do not all fall into one minute."""
    return 0.9 + 0.2 * blake2b(f"{host} {address}".encode(), digest_size=1).digest()[0] / 255
