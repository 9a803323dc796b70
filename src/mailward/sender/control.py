"""How a command beside the daemon changes what it knows: a journal of domains in the cache's own file.

`purge` and `import` change the policies and note the domains in one transaction; the daemon reads the journal
every second and forgets what its memory holds of them. Chosen over the socketmap socket, where whoever may ask
could then also purge, and over a signal, which has to find the process and says nothing of the domain. Every
process on the cache takes note, and one that is not running has nothing to forget.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.cache import CacheError
from mailward.sender.census import open_for_reading
from mailward.sender.knowledge import Knowledge

logger = logging.getLogger("mailward.sender")

POLL_SECONDS = 1.0
KEPT_SECONDS = 86_400
MAX_AT_ONCE = 10_000
_BUSY_SECONDS = 10.0
# A table beside those of sqlite.py: older versions do not look at it, so it is no new schema
_TABLE = """CREATE TABLE IF NOT EXISTS changed (
    number INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, at INTEGER NOT NULL
) STRICT"""
_WINDOW_SECONDS = 2  # heard twice rather than never: others learn while this is read
_LEARNED = "SELECT fetched_at, domain FROM policy WHERE fetched_at BETWEEN ? AND ?"
_HAS_TABLE = "SELECT count(*) FROM sqlite_schema WHERE name = 'changed'"

Change = Callable[[sqlite3.Connection], Sequence[Domain]]


def change(path: Path, work: Change, now: int) -> Sequence[Domain]:
    """Run `work` and tell running daemons of the domains that it returns. All or nothing. Raises CacheError."""
    try:
        with contextlib.closing(
            sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            domains = work(connection)
            connection.execute("DELETE FROM changed WHERE at < ?", (now - KEPT_SECONDS,))
            connection.executemany(
                "INSERT INTO changed (domain, at) VALUES (?, ?)", [(domain, now) for domain in domains]
            )
            connection.execute("COMMIT")  # on an exception, closing rolls back
    except sqlite3.Error as error:
        raise CacheError(f"{path}: {error}") from error
    return domains


def purge_domains(path: Path, domains: Sequence[Domain], now: int) -> Sequence[Domain]:
    """Forget their policies, history and all, here and in running daemons; those that were there.

    Raises CacheError.
    """

    def work(connection: sqlite3.Connection) -> Sequence[Domain]:
        gone = []
        for domain in domains:
            if connection.execute("DELETE FROM policy WHERE domain = ?", (domain,)).rowcount:
                gone.append(domain)
            connection.execute("DELETE FROM version WHERE domain = ?", (domain,))
        return gone

    return change(path, work, now)


class Journal:
    """The daemon's end of it."""

    def __init__(self, path: Path, knowledge: Knowledge) -> None:
        """Raises CacheError."""
        self._path = path
        self._knowledge = knowledge
        self.is_shared = False
        """Whether other processes learn policies on the same cache."""
        rows = self._read("SELECT coalesce(max(fetched_at), 0), '' FROM policy", ())
        self._heard_at = int(str(rows[0][0])) if rows else 0  # memory is empty yet: nothing before is news
        self._heard: frozenset[tuple[object, object]] = frozenset()
        """Fetches within the window that were heard of already."""
        rows = self._read("SELECT coalesce(max(number), 0), '' FROM changed", ())
        self._number = int(str(rows[0][0])) if rows else 0

    async def run(self) -> None:
        """Until cancelled."""
        said = ""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.look()
                said = ""
            except CacheError as error:
                if str(error) != said:  # once, not every second
                    logger.error("cache-unreadable", extra={"reason": str(error)})
                said = str(error)

    async def look(self) -> None:
        """Forget what others have changed, and hear of what they have learned. Raises CacheError."""
        if self.is_shared:
            await self._hear()
        query = "SELECT number, domain FROM changed WHERE number > ? ORDER BY number LIMIT ?"
        rows = await asyncio.to_thread(self._read, query, (self._number, MAX_AT_ONCE))
        for number, name in rows:
            self._number = int(str(number))
            self._knowledge.forget(Domain(str(name)))
        if rows:
            logger.info("changed-by-command", extra={"domains": len(rows), "first": str(rows[0][1])})

    async def _hear(self) -> None:
        now = int(clock.timestamp())
        self._heard_at = min(
            self._heard_at, now
        )  # what was fetched while the clock was ahead hides nothing later
        window = (self._heard_at - _WINDOW_SECONDS, now + _WINDOW_SECONDS)
        rows = await asyncio.to_thread(self._read, _LEARNED, window)
        for fetched_at, name in rows:
            self._heard_at = max(self._heard_at, int(str(fetched_at)))
            if (fetched_at, name) not in self._heard:
                self._knowledge.hear_of(Domain(str(name)), int(str(fetched_at)))
        self._heard = frozenset(rows)

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[object, object]]:
        try:
            with contextlib.closing(open_for_reading(self._path)) as connection:
                if " FROM changed" in query and not connection.execute(_HAS_TABLE).fetchone()[0]:
                    return []
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise CacheError(f"{self._path}: {error}") from error
