"""What was counted for reports, in one SQLite file: durable when `add` returns, read a domain at a time.

One process writes (the collector), another reads (who makes the reports). Policies, records and failures come again and
again, so that they stand once and are named by number.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from mailward.core.names import Domain
from mailward.core.tlsrpt.counting import Detail, DomainDay, Tally, add_up
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.sender.countswriter import LIMITS, CountsWriter, Limits
from mailward.sender.durable import open_schema

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
MAX_ODDITIES, MAX_ODDITY_BYTES = 200, 8192
_SLICE = 500  # domains
_EPOCH = date(1970, 1, 1)

_SCHEMA = """
CREATE TABLE policy (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE failure (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE record (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE session (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    record INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    origin TEXT NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    details INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, domain, record, policy, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE detail (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    record INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    origin TEXT NOT NULL,
    failure INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain, record, policy, origin, failure)
) STRICT, WITHOUT ROWID;
CREATE TABLE cut (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain)
) STRICT, WITHOUT ROWID;
CREATE TABLE oddity (
    number INTEGER PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    content BLOB NOT NULL UNIQUE,
    times INTEGER NOT NULL
) STRICT;
CREATE TABLE change (number INTEGER NOT NULL, forgotten INTEGER NOT NULL, place TEXT) STRICT;
INSERT INTO change VALUES (0, 0, NULL);
"""
_SESSIONS = """
SELECT session.domain, record.content, policy.content, successes, failures, changed,
    session.record, session.policy, session.origin, details
FROM session JOIN record ON record.number = session.record JOIN policy ON policy.number = session.policy
WHERE day = :day AND (:domain IS NULL OR session.domain = :domain) ORDER BY session.domain
"""
_DETAILS = """
SELECT failure.content, sessions FROM detail JOIN failure ON failure.number = detail.failure
WHERE day = ? AND domain = ? AND record = ? AND policy = ? AND origin = ?
"""
_OLDEST = "SELECT DISTINCT day, domain FROM session WHERE day <= ? LIMIT ?"
_KEEP_ODDITY = """
INSERT INTO oddity (seen_at, code, reason, content, times) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at, times = times + excluded.times
"""
_DROP_ODDITIES = """
DELETE FROM oddity WHERE number NOT IN (SELECT number FROM oddity ORDER BY seen_at DESC, number DESC LIMIT ?)
"""

_SessionRow = tuple[str, bytes, bytes, int, int, int, int, int, str, int]
_policies = msgspec.msgpack.Decoder(Policy)
_failures = msgspec.msgpack.Decoder(FailureDetail)


class CountsError(Exception):
    """The counts cannot be read or written; the text says why."""

    code = "counts"


class Oddity(NamedTuple):
    """A datagram that could not be read."""

    seen_at: int
    """Last, seconds since 1970."""
    code: str
    reason: str
    content: bytes
    """Its beginning."""
    times: int


class Counts:
    def __init__(self, path: Path, *, limits: Limits = LIMITS, busy_seconds: float = BUSY_SECONDS) -> None:
        """Opens the file, made if needed. `busy_seconds`: how long another process's writing is waited for.

        Raises CountsError.
        """
        self._writer = CountsWriter(limits)
        self._forgotten = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = _connect(path, busy_seconds)
        except (OSError, sqlite3.Error) as error:
            raise CountsError(f"{path}: {error}") from error

    def add(self, tallies: Sequence[Tally], place: str | None = None) -> int:
        """All of them, or none; how many sessions found no room: there are too many domains. `place`: in Postfix's log,
        up to which they hold. Raises CountsError.
        """
        try:
            with self._transaction() as connection:
                [(change, forgotten)] = connection.execute(
                    "UPDATE change SET number = number + 1 RETURNING number, forgotten"
                ).fetchall()
                if forgotten != self._forgotten:  # another process has removed what is remembered by number
                    self._writer.forget()
                    self._forgotten = forgotten
                if place is not None:
                    connection.execute("UPDATE change SET place = ?", (place,))
                return self._writer.add(connection, tallies, change)
        except BaseException:
            self._writer.forget()  # it may remember what was rolled back
            raise

    def place(self) -> str | None:
        """In Postfix's log, up to which all is counted. Raises CountsError."""
        [(place,)] = self._read("SELECT place FROM change", ())
        return None if place is None else str(place)

    def keep_oddities(self, oddities: Iterable[Oddity]) -> None:
        """As samples: the latest MAX_ODDITIES different ones. Raises CountsError."""
        with self._transaction() as connection:
            connection.executemany(
                _KEEP_ODDITY,
                (each._replace(content=each.content[:MAX_ODDITY_BYTES]) for each in oddities),
            )
            connection.execute(_DROP_ODDITIES, (MAX_ODDITIES,))

    def oddities(self) -> list[Oddity]:
        """Newest first. Raises CountsError."""
        query = "SELECT seen_at, code, reason, content, times FROM oddity ORDER BY seen_at DESC, number DESC"
        return [msgspec.convert(row, Oddity) for row in self._read(query, ())]

    def days(self) -> list[date]:
        """The UTC days that something is counted for, oldest first. Raises CountsError."""
        rows = self._read("SELECT DISTINCT day FROM session ORDER BY day", ())
        return [_EPOCH + timedelta(days=int(str(day))) for (day,) in rows]

    def read_day(self, day: date) -> Iterator[DomainDay]:
        """By domain. One domain at a time is in memory; other connections may write meanwhile. Raises CountsError."""
        return self._domains(day, None)

    def read_domain(self, day: date, domain: Domain) -> DomainDay | None:
        """Raises CountsError."""
        return next(self._domains(day, domain), None)

    def forget(self, day: date) -> None:
        """What was counted for that day and those before. Raises CountsError."""
        number = (day - _EPOCH).days
        while self._forget_some(number):
            pass  # a slice at a time: whoever counts waits for no more than one of them
        with self._transaction() as connection:
            connection.execute("DELETE FROM cut WHERE day <= ?", (number,))
            for name in ("policy", "record"):
                connection.execute(f"DELETE FROM {name} WHERE number NOT IN (SELECT {name} FROM session)")  # noqa: S608 - constant
            connection.execute("DELETE FROM failure WHERE number NOT IN (SELECT failure FROM detail)")
            connection.execute("UPDATE change SET forgotten = forgotten + 1")

    def _forget_some(self, day: int) -> bool:
        """Whether there may be more."""
        with self._transaction() as connection:
            found = connection.execute(_OLDEST, (day, _SLICE)).fetchall()
            connection.executemany("DELETE FROM detail WHERE day = ? AND domain = ?", found)
            connection.executemany("DELETE FROM session WHERE day = ? AND domain = ?", found)
        return len(found) == _SLICE

    def close(self) -> None:
        self._connection.close()

    def _domains(self, day: date, domain: Domain | None) -> Iterator[DomainDay]:
        number = (day - _EPOCH).days
        try:
            cursor = self._connection.execute(_SESSIONS, {"day": number, "domain": domain})
            rows = (msgspec.convert(row, _SessionRow) for row in cursor)
            for name, of_domain in groupby(rows, key=lambda row: row[0]):
                sessions = list(of_domain)
                results = add_up(
                    (_policies.decode(row[2]), row[3], row[4], self._details(number, row)) for row in sessions
                )
                record = max(sessions, key=lambda row: row[5])[1].decode("utf-8", "surrogateescape")
                yield DomainDay(day, Domain(name), record, results, self._cut(number, name))
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise CountsError(str(error)) from error

    def _details(self, day: int, row: _SessionRow) -> list[Detail]:
        if not row[9]:
            return []
        found = self._connection.execute(_DETAILS, (day, row[0], *row[6:9])).fetchall()
        return [Detail(_failures.decode(content), sessions) for content, sessions in found]

    def _cut(self, day: int, domain: str) -> int:
        found = self._connection.execute(
            "SELECT sessions FROM cut WHERE day = ? AND domain = ?", (day, domain)
        ).fetchone()
        return int(found[0]) if found else 0

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise CountsError(str(error)) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OverflowError) as error:
            raise CountsError(str(error)) from error


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    return open_schema(path, busy_seconds, _SCHEMA, SCHEMA_VERSION)
