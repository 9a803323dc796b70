"""Sessions with MX hosts for a survey: each host and address once, however many domains share it or runs it takes.

What was seen is committed to an SQLite file before anybody is told, chains too: after a kill nothing is asked again.
"""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import msgspec

from mailward.core.check.facts import MxHost, Session
from mailward.net import clock
from mailward.net.guard import Guard
from mailward.net.mailer import own_name
from mailward.net.smtpdial import Caller, dial
from mailward.probe.observe import MAX_ADDRESSES
from mailward.probe.once import Once, Politeness

MAX_DIALS = 100  # at a time
PAUSE_SECONDS = 1.0  # between two connections to one address, whose host names may be many
_MAX_KNOWN = 5_000


class MxSessions:
    def __init__(
        self,
        file: Path | None,
        *,
        guard: Guard,
        rate: float,
        ca_file: Path | None = None,
        port: int = 25,
        ehlo_name: str = "",
    ) -> None:
        """`rate`: connections a second, over all hosts. Without `file` nothing outlives this object. Raises
        sqlite3.Error.
        """
        self._caller = Caller(ehlo_name or own_name(), guard, ca_file, port)
        self._pause = 1 / rate
        self._next_at = 0.0
        self._dials = asyncio.Semaphore(MAX_DIALS)
        self._addresses = Politeness(1)
        self._known = Once[Session](_MAX_KNOWN)
        self._store = sqlite3.connect(file or ":memory:", isolation_level=None)
        self._store.execute("PRAGMA journal_mode=WAL")
        self._store.execute(
            "CREATE TABLE IF NOT EXISTS sessions (host TEXT, address TEXT, seen BLOB NOT NULL,"
            " PRIMARY KEY (host, address)) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._store.close()

    async def add_to(self, host: MxHost) -> MxHost:
        """The host with a session for each of its addresses, one after another: they are often one machine."""
        addresses = (*host.v4.records[:MAX_ADDRESSES], *host.v6.records[:MAX_ADDRESSES])
        return replace(host, sessions=tuple([await self._session(host.name, each) for each in addresses]))

    async def _session(self, host: str, address: str) -> Session:
        return await self._known.get(f"{host} {address}", lambda: self._find(host, address))

    async def _find(self, host: str, address: str) -> Session:
        found = self._store.execute(
            "SELECT seen FROM sessions WHERE host = ? AND address = ?", (host, address)
        ).fetchone()
        if found is not None:
            return msgspec.msgpack.decode(found[0], type=Session)
        async with self._addresses.place(address), self._dials:
            await self._wait_for_turn()
            session = await dial(host, address, self._caller)
            self._store.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
                (host, address, msgspec.msgpack.encode(session)),
            )
            await asyncio.sleep(PAUSE_SECONDS)
        return session

    async def _wait_for_turn(self) -> None:
        now = clock.monotonic()
        self._next_at = max(self._next_at, now) + self._pause
        await asyncio.sleep(self._next_at - self._pause - now)
