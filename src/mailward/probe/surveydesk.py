"""What the domains of a survey share in one process: sockets, MX hosts, rows that are alike."""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Protocol

from mailward.core.check.facts import Found, Lookup, MxHost
from mailward.core.dane.tlsa import owner_names
from mailward.core.names import MAX_NAME_LENGTH, is_address
from mailward.core.survey.making import Exchange, RowMaker
from mailward.core.survey.row import write_time
from mailward.net import clock, quickdns
from mailward.net.answers import Answer, Status
from mailward.net.bulkdns import Attempt, BulkResolver
from mailward.net.guard import Guard
from mailward.net.resolver import Server
from mailward.probe.observe import MAX_RECORDS
from mailward.probe.surveyways import SurveyWays, read_suffixes

MAX_HOSTS_KNOWN = 20_000  # of one process; about a kilobyte each
_V4, _V6 = 0, 1
_FOUND = {status: Found(status.value) for status in Status}
_SAME_TIME_SECONDS = 0.1  # a row tells the second


class Asker(ABC):
    """Asks DNS without waiting, step by step; `answer` is called with what came of each."""

    __slots__ = ("answers", "desk", "labels", "missing", "name")

    kinds: tuple[str, ...]
    """Of each step."""
    prefixes: tuple[str, ...]
    """What stands before the name in each step's question."""
    longest_prefix = 0
    """Characters."""
    around: tuple[tuple[bytes, bytes], ...]
    """What stands before and behind the labels in each step's question; follows from the two above."""

    def __init_subclass__(cls) -> None:
        cls.around = tuple(
            (quickdns.encode_labels(prefix) or b"", quickdns.end_question(kind))
            for prefix, kind in zip(cls.prefixes, cls.kinds, strict=True)
        )

    def __init__(self, desk: "Desk", name: str) -> None:
        self.desk, self.name = desk, name
        self.labels = desk.encode(name) if len(name) <= MAX_NAME_LENGTH - self.longest_prefix else None
        self.answers: list[Answer[Any] | None] = [None] * len(self.kinds)  # Any: of TXT, bytes
        self.missing = 0
        """How many answers, and what else, there must be before it is done."""

    def ask(self, *steps: int) -> None:
        self.missing += len(steps)
        labels = self.labels
        if labels is None:
            for step in steps:
                self.desk.spawn(self, self._look_up(step))
            return
        around = self.around
        self.desk.stream.ask_all([(around[step][0] + labels + around[step][1], step) for step in steps], self)

    def take(self, step: int, wire: bytes, end: int, server: Server) -> None:
        try:
            answer = quickdns.NEGATIVES.get(wire[2:8]) or quickdns.read_message(wire, end)
            if answer is None:
                self.desk.spawn(self, self._resume(step, Attempt(wire, end, server)))
            else:
                self.answer(step, answer)
        except Exception as error:  # noqa: BLE001 - one domain must not end the survey: its row says what it was
            self.fail(error)

    def miss(self, step: int, reason: str, *, is_late: bool) -> None:
        self.desk.spawn(self, self._resume(step, Attempt(reason=reason, is_late=is_late)))

    @abstractmethod
    def answer(self, step: int, answer: Answer[Any]) -> None:
        """Called with what came of a step's question."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Called for a fault of ours, perhaps more than once."""

    def check_time(self) -> None:  # noqa: B027 - what many domains share has no end of its own
        """Raises TimeoutError where no step may be begun any more."""

    async def _look_up(self, step: int) -> None:
        name, kind = self.prefixes[step] + self.name, self.kinds[step]
        self.answer(step, await self.desk.resolver.lookup(name, kind))  # type: ignore[call-overload]  # of Kind

    async def _resume(self, step: int, attempt: Attempt) -> None:
        self.check_time()
        name = self.prefixes[step] + self.name
        self.answer(step, await self.desk.resolver.resume(name, self.kinds[step], attempt))


class Waiting(Protocol):
    def found_host(self, host: MxHost) -> None: ...
    def fail(self, error: Exception) -> None: ...


class HostLook(Asker):
    """An MX host: whoever wants to know of it waits for the same answers."""

    __slots__ = ("waiting",)

    kinds = ("A", "AAAA")
    prefixes = ("", "")

    def __init__(self, desk: "Desk", name: str, first: Waiting) -> None:
        super().__init__(desk, name)
        self.waiting = [first]
        self.ask(_V4, _V6)

    def answer(self, step: int, answer: Answer[Any]) -> None:
        self.answers[step] = answer
        self.missing -= 1
        if self.missing:
            return
        v4, v6 = (
            make_lookup(self.name, kind, each)
            for kind, each in zip(self.kinds, self.answers, strict=True)
            if each is not None
        )
        found = [lookup for lookup in (v4, v6) if lookup.was_found]
        chain = v4.chain or v6.chain
        is_secure = all(lookup.is_secure for lookup in found)
        # RFC 7672 §2.2.2: without a secure address senders ask for TLSA records of an alias alone, at its own name
        if self.desk.validates and found and (is_secure or chain):
            owners = owner_names(self.name, chain if is_secure else (), 25)
            self.desk.spawn(self, self._look_for_tlsa(v4, v6, owners))
        else:
            self._finish(MxHost(self.name, v4, v6))

    async def _look_for_tlsa(self, v4: Lookup, v6: Lookup, owners: Sequence[str]) -> None:
        tlsa = [
            make_lookup(owner, "TLSA", await self.desk.resolver.lookup(owner, "TLSA"))
            for owner in owners
            if len(owner) <= MAX_NAME_LENGTH
        ]
        self._finish(MxHost(self.name, v4, v6, tuple(tlsa)))

    def _finish(self, host: MxHost) -> None:
        waiting, self.waiting = self.waiting, []
        self.desk.keep_host(host)
        for each in waiting:
            try:
                each.found_host(host)
            except Exception as error:  # noqa: BLE001 - of that one, not of the others
                each.fail(error)

    def fail(self, error: Exception) -> None:
        waiting, self.waiting = self.waiting, []
        self.desk.forget_host(self.name)
        for each in waiting:
            each.fail(error)


class Desk:
    """For one event loop. Raises ValueError for ways that cannot be gone."""

    def __init__(self, ways: SurveyWays) -> None:
        self.ways = ways
        self.guard = Guard(ways.allow_private, forbid_own=True)
        self.resolver = BulkResolver(
            ways.resolvers, attempt_seconds=ways.dns_seconds, retries=ways.retries, guard=self.guard
        )
        self.stream = self.resolver.stream
        self.rows = RowMaker()
        self.validates = False
        """Whether the resolver does: the root's SOA comes with the AD bit."""
        self.exchanges: OrderedDict[object, Exchange] = OrderedDict()
        """By MX records, those of hosts that domains share."""
        self._hosts: OrderedDict[str, MxHost] = OrderedDict()
        self._looks: dict[str, HostLook] = {}
        self._suffixes = read_suffixes(ways.suffix_list)
        self._registered: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._now: tuple[float, datetime, str] = (float("-inf"), clock.now(), "")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.resolver.close()

    def encode(self, name: str) -> bytes | None:
        """The name as questions have it; None where it is not plain, or nobody is there to be asked."""
        return quickdns.encode_labels(name) if self.stream.has_servers else None

    def spawn(self, asker: Asker, work: Coroutine[Any, Any, None]) -> None:
        """What needs waiting for; the asker fails with it."""
        task = self._loop.create_task(_guarded(asker, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def read_clock(self, monotonic: float) -> tuple[datetime, str]:
        """Now, and as rows have it."""
        before, at, text = self._now
        if monotonic - before >= _SAME_TIME_SECONDS:
            at = clock.now()
            text = write_time(at)
            self._now = monotonic, at, text
        return at, text

    def find_host(self, name: str, waiting: Waiting, *, is_own: bool) -> MxHost | None:
        """The host, or None: then `waiting` is told of it. One of a domain's own concerns nobody else."""
        if is_own:
            HostLook(self, name, waiting)
            return None
        known = self._hosts.get(name)
        if known is not None:
            return known
        if is_address(name):
            return MxHost(name, Lookup(name, "A", Found.NODATA), Lookup(name, "AAAA", Found.NODATA))
        look = self._looks.get(name)
        if look is None:
            self._looks[name] = HostLook(self, name, waiting)
        else:
            look.waiting.append(waiting)
        return None

    async def host(self, name: str) -> MxHost:
        waiter = _HostWaiter()
        return self.find_host(name, waiter, is_own=False) or await waiter.done

    def keep_host(self, host: MxHost) -> None:
        if self._looks.pop(host.name, None) is not None:
            self._hosts[host.name] = host
            if len(self._hosts) > MAX_HOSTS_KNOWN:
                self._hosts.popitem(last=False)

    def forget_host(self, name: str) -> None:
        self._looks.pop(name, None)

    def make_exchange(self, mx: Lookup, hosts: Sequence[MxHost], skipped: int) -> Exchange:
        names = [self._registered_domain(host.name) for host in hosts] if mx.was_found else ()
        return self.rows.make_exchange(mx, hosts, skipped, names)

    def keep_exchange(self, key: object, exchange: Exchange) -> None:
        self.exchanges[key] = exchange
        if len(self.exchanges) > MAX_HOSTS_KNOWN:
            self.exchanges.popitem(last=False)

    def _registered_domain(self, host: str) -> str:
        known = self._registered.get(host)
        if known is None:
            if len(self._registered) >= MAX_HOSTS_KNOWN:
                self._registered.clear()
            known = self._registered[host] = self._suffixes.registered_domain(host)
        return known


class _HostWaiter:
    def __init__(self) -> None:
        self.done: asyncio.Future[MxHost] = asyncio.get_running_loop().create_future()

    def found_host(self, host: MxHost) -> None:
        if not self.done.done():
            self.done.set_result(host)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def _guarded(asker: Asker, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - one domain must not end the survey: its row says what it was
        asker.fail(error)


def make_lookup(name: str, kind: str, answer: Answer[Any]) -> Lookup:
    records = answer.records[:MAX_RECORDS]
    found = _FOUND[answer.status]
    if kind != "TXT":
        return Lookup(name, kind, found, records, (), answer.authenticated, answer.chain, answer.reason)
    shown = tuple(text.decode("ascii", "backslashreplace") for text in records)
    return Lookup(name, kind, found, shown, records, answer.authenticated, answer.chain, answer.reason)
