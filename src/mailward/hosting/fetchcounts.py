"""Who fetched which policy: counted in memory, written to the database in batches, bounded on the way.

Counting costs a request a dictionary entry. While the database is away counts wait, first as they are, then with
less detail, and at the very end not at all; policies are served all the same. What a process counted since its
last flush is lost when it is killed.
"""

import asyncio
import contextlib
import functools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from django.db import Error as DatabaseError
from django.db import connection

from mailward.core.fetchers import fetcher_by_reverse_name, read_user_agent
from mailward.hosting.snapshot import PREFIX
from mailward.net import clock
from mailward.store.services.fetches import FetchCount, book_fetches

_log = logging.getLogger("mailward.hosting")

FLUSH_SECONDS = 30.0
MAX_COUNTED = 50_000
"""So many different counts between two flushes; what comes then is counted by host and status alone."""
MAX_WAITING = 200_000
"""So many wait for the database; beyond, nothing is kept."""
MAX_WAITING_A_DOMAIN = 64
"""So many kept apart for one domain until they are written; what comes then is added without agent and network."""
MAX_NETWORKS = 10_000
"""So many networks' names are remembered."""
MAX_NAMED_AT_ONCE = 50
"""So many are asked for between two flushes; others stay unknown until they come again."""
_NAMING_SECONDS = 10.0
_BATCH = 500
_AGENT = 80
_SECONDS_A_DAY = 86_400

_Seen = tuple[str, str, str, int, int]
"""Host, User-Agent, network, status, days since 1970."""
_Key = tuple[str, int, str, str, str, int]
"""Domain, days since 1970, fetcher, agent, network, status."""


class FetchCounter:
    """Counts on the loop, writes in a thread of its own."""

    def __init__(
        self,
        write: Callable[[Sequence[FetchCount]], int] = book_fetches,
        reverse_name: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        """`reverse_name` gives what an address is called (empty: nothing), for clients that say nothing of use."""
        self._write, self._reverse_name = write, reverse_name
        self._seen: dict[_Seen, list[float]] = {}
        self._addresses: dict[str, str] = {}
        self._by_network: OrderedDict[str, str] = OrderedDict()
        self._waiting: dict[_Key, list[float]] = {}
        self._domains: dict[str, int] = {}
        self._dropped = 0
        self._database_ok = True
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetches")

    def count(self, host: str, user_agent: str, peer: str, status: int) -> None:
        """One answered request; `peer` is the client's address."""
        now = clock.timestamp()
        day = int(now) // _SECONDS_A_DAY
        network = network_of(peer)
        key = (host, user_agent[:_AGENT], network, status, day)
        entry = self._seen.get(key)
        if entry is None:
            if len(self._seen) >= MAX_COUNTED:
                key = (host, "", "", status, day)
            entry = self._seen.setdefault(key, [0, now, now])
            if network not in self._by_network and len(self._addresses) < MAX_NAMED_AT_ONCE:
                self._addresses.setdefault(network, peer)
        entry[0] += 1
        entry[2] = now

    @property
    def waiting(self) -> int:
        """Counts that are not written yet."""
        return len(self._seen) + len(self._waiting)

    async def follow(self) -> None:
        """Write what was counted twice a minute until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            self._thread.submit(self._flush, self._take())
            self._thread.submit(connection.close)
            self._thread.shutdown(wait=False)

    async def flush(self) -> None:
        await self._name_networks()
        seen = self._take()
        if seen or self._waiting:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._flush, seen)

    async def _name_networks(self) -> None:
        """Ask what new networks are called: one address each, a bounded number, with a deadline for all."""
        addresses, self._addresses = self._addresses, {}
        if self._reverse_name is None or not addresses:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NAMING_SECONDS), asyncio.TaskGroup() as group:
                for network, address in addresses.items():
                    group.create_task(self._name(network, address, self._reverse_name))

    async def _name(self, network: str, address: str, reverse_name: Callable[[str], Awaitable[str]]) -> None:
        self._by_network[network] = fetcher_by_reverse_name(await reverse_name(address))
        if len(self._by_network) > MAX_NETWORKS:
            self._by_network.popitem(last=False)

    def _take(self) -> dict[_Seen, list[float]]:
        seen, self._seen = self._seen, {}
        return seen

    # In the thread

    def _flush(self, seen: dict[_Seen, list[float]]) -> None:
        for (host, user_agent, network, status, day), entry in seen.items():
            fetcher, agent = _read_agent(user_agent)
            fetcher = fetcher or self._by_network.get(network, "")
            self._wait((host.removeprefix(PREFIX), day, fetcher, agent, network, status), entry)
        try:
            self._book()
        except DatabaseError as error:
            connection.close()
            if self._database_ok:
                _log.error("fetches-not-written", extra={"reason": error, "waiting": len(self._waiting)})
            self._database_ok = False
            return
        if not self._database_ok or self._dropped:
            _log.info("fetches-written", extra={"dropped": self._dropped})
        self._database_ok, self._dropped = True, 0

    def _wait(self, key: _Key, entry: list[float]) -> None:
        domain, day, fetcher, _, _, status = key
        if key not in self._waiting and self._domains.get(domain, 0) >= MAX_WAITING_A_DOMAIN:
            key = (domain, day, fetcher, "", "", status)
        held = self._waiting.get(key)
        if held is not None:
            self._waiting[key] = [held[0] + entry[0], min(held[1], entry[1]), max(held[2], entry[2])]
        elif len(self._waiting) >= MAX_WAITING:
            self._dropped += int(entry[0])
        else:
            self._waiting[key] = list(entry)
            self._domains[domain] = self._domains.get(domain, 0) + 1

    def _book(self) -> None:
        # domain by domain: a batch then touches few places of the table
        keys = sorted(self._waiting)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            self._write([_count(key, self._waiting[key]) for key in batch])
            for key in batch:
                del self._waiting[key]
        self._domains.clear()


@functools.lru_cache(maxsize=1_000)
def _read_agent(user_agent: str) -> tuple[str, str]:
    return read_user_agent(user_agent)


def _count(key: _Key, entry: list[float]) -> FetchCount:
    domain, day, fetcher, agent, network, status = key
    first, last = (datetime.fromtimestamp(seconds, UTC) for seconds in entry[1:])
    day_utc = datetime.fromtimestamp(day * _SECONDS_A_DAY, UTC).date()
    return FetchCount(domain, day_utc, fetcher, agent, network, status, int(entry[0]), first, last)


@functools.lru_cache(maxsize=1_000)
def network_of(address: str) -> str:
    """The IPv4 /24 or the IPv6 /48 of an address as the socket gives it; empty where it is none."""
    address = address.removeprefix("::ffff:").partition("%")[0]
    if ":" not in address:
        head, dot, _ = address.rpartition(".")
        return f"{head}.0/24" if dot else ""
    head, gap, _ = address.partition("::")
    groups = head.split(":") if head else []
    if not gap or len(groups) >= 3:
        return f"{':'.join(groups[:3])}::/48"
    # "::" stands for the rest: groups after it are beyond the first 48 bits, or nearly always so
    return f"{head}::/48"
