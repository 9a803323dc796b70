"""Policies in one SQLite file: durable when `put` returns, read by key, never loaded as a whole.

One thread writes; what asks to be written while it commits is committed together next, so that a burst of new domains
costs a few syncs and not one each. Reads are by primary key, some microseconds, in the caller's thread.
"""

import asyncio
import contextlib
import functools
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from mailward.core.mtasts.decide import DAY_SECONDS, Cached, Failure
from mailward.core.mtasts.policy import Policy, PolicyInvalid, parse_policy
from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.cache import CacheError, DamagedEntry, Entry, Version
from mailward.sender.durable import connect_durably

SCHEMA_VERSION = 3
MAX_VERSIONS = 20  # of one domain
MAX_BATCH = 500  # writes of one commit
_EVICTION_CHECK = 256  # new domains between two looks at their number
_BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE policy (
    domain TEXT PRIMARY KEY,
    policy BLOB NOT NULL,
    policy_id TEXT NOT NULL,
    fetched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    refresh_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    failure BLOB
) STRICT;
CREATE INDEX policy_refresh_at ON policy (refresh_at);
CREATE INDEX policy_used_at ON policy (used_at);
CREATE TABLE version (
    domain TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    policy_id TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX version_domain ON version (domain, first_seen_at);
"""
_SCHEMA_2 = """
CREATE TABLE dane (
    nexthop TEXT PRIMARY KEY,
    full_at INTEGER NOT NULL
) STRICT;
CREATE INDEX dane_full_at ON dane (full_at);
"""
_SCHEMA_3 = """
CREATE INDEX policy_fetched_at ON policy (fetched_at);
"""  # workers ask every second what others have learned
_SCHEMAS = (_SCHEMA, _SCHEMA_2, _SCHEMA_3)
"""Each brings a cache from the version before to its own."""
_PUT = """
INSERT INTO policy (domain, policy, policy_id, fetched_at, expires_at, refresh_at, used_at, failure)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (domain) DO UPDATE SET policy = excluded.policy, policy_id = excluded.policy_id,
    fetched_at = excluded.fetched_at, expires_at = excluded.expires_at, refresh_at = excluded.refresh_at,
    failure = excluded.failure
WHERE excluded.fetched_at >= policy.fetched_at OR policy.fetched_at > ?
"""
_NOTE = "UPDATE policy SET failure = ?, refresh_at = ? WHERE domain = ? AND fetched_at = ?"
_DUE = "SELECT domain FROM policy WHERE refresh_at {} ? AND expires_at > ? ORDER BY refresh_at LIMIT ?"
_COLUMNS = "domain, policy, policy_id, fetched_at, expires_at, refresh_at, failure"

_Row = tuple[str, bytes, str, int, int, int, bytes | None]
_Work = Callable[[sqlite3.Connection], object]
_policies = msgspec.msgpack.Decoder(Policy)
_failures = msgspec.msgpack.Decoder(Failure)
_encode = msgspec.msgpack.Encoder().encode
_SMALL = 1024  # bytes of a policy: the texts that large hosts give to all their domains


class SqliteCache:
    """A PolicyCache."""

    def __init__(self, path: Path, max_domains: int) -> None:
        """Opens the file, made if needed. Raises CacheError."""
        self._max_domains = max_domains
        self._until_check = 1
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only = 1")
            self._writer = _Writer(path)
        except OSError as error:
            raise CacheError(f"{path}: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise CacheError(f"{path}: {error}") from error

    async def load(self, domain: Domain) -> Entry | None:
        rows = self._read(f"SELECT {_COLUMNS} FROM policy WHERE domain = ?", (domain,))  # noqa: S608 - constant
        return self._entry(rows[0]) if rows else None

    async def put(self, entry: Entry) -> bool:
        return bool(await self._writer.run(lambda connection: self._put(connection, entry)))

    async def put_late(self, entry: Entry) -> bool:
        def put(connection: sqlite3.Connection) -> bool:
            fetched_at = entry.cached.fetched_at
            return not _was_changed(connection, entry.domain, fetched_at) and self._put(connection, entry)

        return bool(await self._writer.run(put))

    async def note(self, domain: Domain, fetched_at: int, failure: Failure | None, refresh_at: int) -> bool:
        values = (None if failure is None else _encode(failure), refresh_at, domain, fetched_at)
        return bool(await self._writer.run(lambda connection: connection.execute(_NOTE, values).rowcount))

    async def touch(self, domains: Sequence[Domain], now: int) -> None:
        rows = [(now, domain) for domain in domains]
        await self._writer.run(
            lambda connection: connection.executemany("UPDATE policy SET used_at = ? WHERE domain = ?", rows)
        )

    async def due(self, now: int, limit: int) -> list[Domain]:
        # by the clock itself: one that is ahead of what is believed here may be what another process believes
        latest = max(now, int(clock.timestamp())) + DAY_SECONDS
        # one after the other: asked for both at once, SQLite walks through the whole index
        found = self._read(_DUE.format("<="), (now, now, limit))
        found += self._read(_DUE.format(">"), (latest, now, limit))
        return [Domain(str(domain)) for (domain,) in found[:limit]]

    async def remove(self, domain: Domain) -> bool:
        return bool(await self._writer.run(lambda connection: _remove(connection, domain)))

    async def listing(self) -> list[Entry]:
        return [each for each in self._all() if isinstance(each, Entry)]

    async def damaged(self) -> list[Domain]:
        return [each.domain for each in self._all() if isinstance(each, DamagedEntry)]

    async def history(self, domain: Domain) -> list[Version]:
        query = "SELECT first_seen_at, policy_id, text FROM version WHERE domain = ? ORDER BY rowid DESC"
        rows = msgspec.convert(self._read(query, (domain,)), list[tuple[int, str, str]])
        return [Version(*row) for row in rows]

    def last_use(self) -> int | None:
        return self._number("SELECT max(max(used_at), max(fetched_at)) FROM policy")

    async def note_dane(self, nexthop: str, now: int, forget_before: int) -> None:
        def note(connection: sqlite3.Connection) -> None:
            put = "INSERT INTO dane VALUES (?, ?) ON CONFLICT DO UPDATE SET full_at = excluded.full_at"
            connection.execute(put, (nexthop, now))
            connection.execute("DELETE FROM dane WHERE full_at < ?", (forget_before,))

        await self._writer.run(note)

    async def dane_full_at(self, nexthop: str) -> int | None:
        return self._number("SELECT full_at FROM dane WHERE nexthop = ?", nexthop)

    async def last_dane_at(self) -> int | None:
        return self._number("SELECT max(full_at) FROM dane")

    def _number(self, query: str, *parameters: str) -> int | None:
        rows = msgspec.convert(self._read(query, parameters), list[tuple[int | None]])
        return rows[0][0] if rows else None

    async def close(self) -> None:
        await asyncio.to_thread(self._writer.close)
        self._reader.close()

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        try:
            return self._reader.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise CacheError(str(error)) from error

    def _all(self) -> Iterator[Entry | DamagedEntry]:
        for row in self._read(f"SELECT {_COLUMNS} FROM policy ORDER BY domain", ()):  # noqa: S608 - constant
            try:
                yield self._entry(row)
            except DamagedEntry as error:
                yield error

    def _entry(self, row: tuple[object, ...]) -> Entry:
        """Raises DamagedEntry."""
        domain, blob, policy_id, fetched_at, expires_at, refresh_at, failure = msgspec.convert(row, _Row)
        try:
            read = _read_small if len(blob) <= _SMALL else _policies.decode
            policy = read(blob)
        except msgspec.MsgspecError as error:
            found = self._policy_from_history(Domain(domain))
            if found is None:
                raise DamagedEntry(Domain(domain), fetched_at, expires_at, str(error)) from error
            policy = found
        cached = Cached(policy, policy_id, fetched_at)
        return Entry(Domain(domain), cached, _read_failure(failure), refresh_at)

    def _policy_from_history(self, domain: Domain) -> Policy | None:
        """The newest text is that of the policy in force."""
        query = "SELECT text FROM version WHERE domain = ? ORDER BY rowid DESC LIMIT 1"
        for (text,) in self._read(query, (domain,)):
            with contextlib.suppress(PolicyInvalid, UnicodeError):
                return parse_policy(str(text).encode())
        return None

    def _put(self, connection: sqlite3.Connection, entry: Entry) -> bool:
        cached = entry.cached
        failure = None if entry.failure is None else _encode(entry.failure)
        times = (cached.fetched_at, cached.expires_at, entry.refresh_at, cached.fetched_at)
        before = connection.execute(
            "SELECT text FROM version WHERE domain = ? ORDER BY rowid DESC LIMIT 1", (entry.domain,)
        ).fetchone()
        row = (entry.domain, _encode(cached.policy), cached.policy_id, *times, failure)
        if not connection.execute(_PUT, (*row, int(clock.timestamp()))).rowcount:
            return False
        if before is None or before[0] != cached.policy.text:
            version = (entry.domain, cached.fetched_at, cached.policy_id, cached.policy.text)
            connection.execute("INSERT INTO version VALUES (?, ?, ?, ?)", version)
            if before is not None:
                _trim_history(connection, entry.domain)
        if before is None:
            self._until_check -= 1
            if self._until_check <= 0:
                self._until_check = _EVICTION_CHECK
                _evict(connection, self._max_domains, cached.fetched_at)
        return True


class _Writer:
    """The thread that writes. `run` returns after the commit that holds the work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[
            tuple[_Work, asyncio.AbstractEventLoop, asyncio.Future[object]] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="sender-cache", daemon=True)
        self._thread.start()

    async def run(self, work: _Work) -> object:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._queue.put((work, loop, future))
        return await future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        connection: sqlite3.Connection | None = None
        while (first := self._queue.get()) is not None:
            batch = [first]
            closing = False
            with contextlib.suppress(queue.Empty):
                while len(batch) < MAX_BATCH:
                    item = self._queue.get_nowait()
                    if item is None:
                        closing = True
                        break
                    batch.append(item)
            try:
                connection = connection or _connect(self._path)
                outcomes = _commit(connection, [work for work, _, _ in batch])
            except (OSError, sqlite3.Error) as error:
                failure = CacheError(str(error))
                for _, loop, future in batch:
                    _tell(loop, future.set_exception, future, failure)
            else:
                for (_, loop, future), outcome in zip(batch, outcomes, strict=True):
                    _tell(loop, future.set_result, future, outcome)
            if closing:
                break
        if connection is not None:
            connection.close()


def _commit(connection: sqlite3.Connection, works: Sequence[_Work]) -> list[object]:
    """All of them, in one transaction. Raises sqlite3.Error, and then none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [work(connection) for work in works]
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _tell(
    loop: asyncio.AbstractEventLoop,
    setter: Callable[..., None],
    future: asyncio.Future[object],
    value: object,
) -> None:
    def set_it() -> None:
        if not future.done():  # whoever asked may be gone
            setter(value)

    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(set_it)


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect_durably(path, _BUSY_SECONDS)
    connection.execute("BEGIN IMMEDIATE")
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    if version < SCHEMA_VERSION:
        for statement in "".join(_SCHEMAS[version:]).split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"schema {version} is newer than this Mailward, which knows {SCHEMA_VERSION}"
        )
    return connection


def _remove(connection: sqlite3.Connection, domain: Domain) -> int:
    removed = connection.execute("DELETE FROM policy WHERE domain = ?", (domain,)).rowcount
    connection.execute("DELETE FROM version WHERE domain = ?", (domain,))
    return removed


def _was_changed(connection: sqlite3.Connection, domain: Domain, since: int) -> bool:
    """Whether a command has changed the domain: `control` has the journal, and makes it when it is needed first."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'changed'"
    if not connection.execute(query).fetchone()[0]:
        return False
    query = "SELECT count(*) FROM changed WHERE domain = ? AND at >= ?"
    return bool(connection.execute(query, (domain, since)).fetchone()[0])


def _evict(connection: sqlite3.Connection, max_domains: int, now: int) -> None:
    """Down to 95 per cent of the most: ended policies first, then those unused for the longest time."""
    [(count,)] = connection.execute("SELECT count(*) FROM policy").fetchall()
    if count <= max_domains:
        return
    surplus = count - max_domains * 95 // 100
    query = "SELECT domain FROM policy ORDER BY expires_at > ?, used_at LIMIT ?"
    for (domain,) in connection.execute(query, (now, surplus)).fetchall():
        _remove(connection, Domain(domain))


def _trim_history(connection: sqlite3.Connection, domain: Domain) -> None:
    connection.execute(
        "DELETE FROM version WHERE domain = ? AND rowid NOT IN"
        " (SELECT rowid FROM version WHERE domain = ? ORDER BY rowid DESC LIMIT ?)",
        (domain, domain, MAX_VERSIONS),
    )


@functools.lru_cache(maxsize=512)
def _read_small(policy: bytes) -> Policy:
    """Domains with the same policy share it in memory. Raises msgspec.MsgspecError."""
    return _policies.decode(policy)


def _read_failure(blob: bytes | None) -> Failure | None:
    """One that cannot be read is none: it only puts off the next fetch."""
    with contextlib.suppress(msgspec.MsgspecError):
        return _failures.decode(blob) if blob else None
    return None
