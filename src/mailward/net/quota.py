"""How many connections one address gets from us in an hour, whoever asks: the owner of the address never asked for any.

    quota = FileQuota(state_file(), 600)
    reason = await quota.take("192.0.2.1", 1)         # empty: connect

The platform has another that counts in its database (worker.sessions, worker.watch).
"""

import os
import sqlite3
from pathlib import Path
from typing import Protocol

from mailward.net import clock

_HOUR_SECONDS = 3600.0
_WAIT_SECONDS = 5.0  # for another process that counts at this moment


class Quota(Protocol):
    async def take(self, address: str, connections: int) -> str:
        """Count so many connections to the address. Empty, or why they are too many: then none was counted."""
        ...


def too_many(most: int) -> str:
    """The sentence for people. `most`: in an hour."""
    return f"not asked: it has had its {most} connections for this hour"


class FileQuota:
    """Counts in an SQLite file, over runs and processes; where that cannot be had, for this run alone."""

    def __init__(self, file: Path | None, most: int) -> None:
        self._most = most
        self._store = _open_memory()
        if file is not None:
            try:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._store = _open(str(file))
            except (OSError, sqlite3.Error):
                pass  # a home that cannot be written, a full disk: no reason not to look

    async def take(self, address: str, connections: int) -> str:
        try:
            return self._take(address, connections)
        except sqlite3.Error:
            self._store = _open_memory()
            return self._take(address, connections)

    def _take(self, address: str, connections: int) -> str:
        now = clock.now().timestamp()
        with self._store:
            self._store.execute("BEGIN IMMEDIATE")
            # a clock may go back
            self._store.execute(
                "DELETE FROM probes WHERE began <= ? OR began > ?", (now - _HOUR_SECONDS, now)
            )
            self._store.execute("INSERT OR IGNORE INTO probes VALUES (?, ?, 0)", (address, now))
            counted = self._store.execute(
                "UPDATE probes SET connections = connections + ?1 WHERE address = ?2 AND connections + ?1 <= ?3",
                (connections, address, self._most),
            )
        return "" if counted.rowcount else too_many(self._most)


def state_file() -> Path | None:
    """Where the user's programs keep their state (XDG base directories); None: nowhere."""
    try:
        folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    except RuntimeError:  # a user without a home
        return None
    return Path(folder) / "mailward" / "probes.sqlite3"


def _open_memory() -> sqlite3.Connection:
    return _open(":memory:")


def _open(name: str) -> sqlite3.Connection:
    store = sqlite3.connect(name, timeout=_WAIT_SECONDS, isolation_level=None)
    # losing the last counts to a power cut is cheaper than waiting for the disk at each connection
    store.execute("PRAGMA synchronous=OFF")
    store.execute(
        "CREATE TABLE IF NOT EXISTS probes"
        " (address TEXT PRIMARY KEY, began REAL NOT NULL, connections INTEGER NOT NULL) WITHOUT ROWID"
    )
    return store
