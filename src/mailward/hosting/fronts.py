"""Servers in front of ours that do not answer: a customer's reverse proxy or CDN, with thousands of domains behind it.

What is learnt of an address counts for all of them for some seconds, so that one look waits for it and not each
domain's. Only that nobody takes a connection there counts: that is so for every name, while a server that takes it and
says nothing may do so for one name alone. Of those, few in a network are waited for at a time.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from mailward.core.dns.ratelimit import network_of
from mailward.net import clock

SILENT_SECONDS = 10.0
"""So long an address where nobody took a connection is not asked again for another domain; then by one at a time."""
LOOKS_A_NETWORK = 40
"""At a time, of an IPv4 /24 or an IPv6 /56."""
TURN_SECONDS = 2.0
"""So long a look waits for its turn among those, before it gives way to looks elsewhere."""
_MOST_SILENT = 10_000

NOT_ASKED = "not asked: nobody took a connection there for another domain a moment ago"
BUSY = "not asked: others that are behind servers in that network were waited for"
UNASKED = frozenset({NOT_ASKED, BUSY})


class Look(NamedTuple):
    reason: str
    """Why it does not serve what it should; empty: it does."""
    is_connected: bool = True
    """Whether somebody took the connection."""


class Fronts:
    def __init__(self) -> None:
        self._silent: dict[str, float] = {}
        """Until when an address is not asked."""
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._held: defaultdict[str, int] = defaultdict(int)

    async def ask(self, address: str, look: Callable[[], Awaitable[Look]]) -> str:
        """The reason that `look` gives, or why there was none."""
        if self._is_silent(address):
            return NOT_ASKED
        async with self._turn(network_of(address)) as is_had:
            if not is_had:
                return BUSY
            if not self._may_ask(address):
                return NOT_ASKED
            seen = await look()
        if seen.is_connected:
            self._silent.pop(address, None)
        else:
            self._note_silence(address)
        return seen.reason

    def _is_silent(self, address: str) -> bool:
        return clock.monotonic() < self._silent.get(address, 0.0)

    def _may_ask(self, address: str) -> bool:
        if self._is_silent(address):
            return False
        if address in self._silent:
            self._note_silence(address)  # this one finds out; the others need not wait for it
        return True

    def _note_silence(self, address: str) -> None:
        if len(self._silent) >= _MOST_SILENT:
            self._silent = {each: until for each, until in self._silent.items() if self._is_silent(each)}
        self._silent[address] = clock.monotonic() + SILENT_SECONDS

    @asynccontextmanager
    async def _turn(self, network: str) -> AsyncIterator[bool]:
        turns = self._turns.setdefault(network, asyncio.Semaphore(LOOKS_A_NETWORK))
        self._held[network] += 1
        try:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await turns.acquire()
            except TimeoutError:
                yield False
                return
            try:
                yield True
            finally:
                turns.release()
        finally:
            self._held[network] -= 1
            if not self._held[network]:
                del self._held[network], self._turns[network]
