"""What was counted for reports, in one SQLite file: durable when `add` returns, read a domain at a time.

One process writes (the collector), another reads (who makes the reports). Policies, records and failures come again and
again, so that they stand once and are named by number.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import msgspec

from mailward.core.names import Domain
from mailward.core.tlsrpt.counting import Detail, DomainDay, Tally, add_up
from mailward.core.tlsrpt.schema import FailureDetail, Policy

SCHEMA_VERSION = 1
_BUSY_SECONDS = 10.0
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
CREATE TABLE change (number INTEGER NOT NULL) STRICT;
INSERT INTO change VALUES (0);
"""
_COUNT = """
INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET successes = successes + excluded.successes, failures = failures + excluded.failures,
    changed = excluded.changed
"""
_DETAIL = """
INSERT INTO detail VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions
"""
_SESSIONS = """
SELECT session.domain, record.content, policy.content, successes, failures, changed,
    session.record, session.policy, session.origin
FROM session JOIN record ON record.number = session.record JOIN policy ON policy.number = session.policy
WHERE day = :day AND (:domain IS NULL OR session.domain = :domain) ORDER BY session.domain
"""
_DETAILS = """
SELECT failure.content, sessions FROM detail JOIN failure ON failure.number = detail.failure
WHERE day = ? AND domain = ? AND record = ? AND policy = ? AND origin = ?
"""

_SessionRow = tuple[str, bytes, bytes, int, int, int, int, int, str]
_encode = msgspec.msgpack.Encoder().encode
_policies = msgspec.msgpack.Decoder(Policy)
_failures = msgspec.msgpack.Decoder(FailureDetail)


class CountsError(Exception):
    """The counts cannot be read or written; the text says why."""

    code = "counts"


class Counts:
    def __init__(self, path: Path) -> None:
        """Opens the file, made if needed. Raises CountsError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise CountsError(f"{path}: {error}") from error

    def add(self, tallies: Sequence[Tally]) -> None:
        """All of them, or none. Raises CountsError."""
        with self._transaction() as connection:
            [(change,)] = connection.execute(
                "UPDATE change SET number = number + 1 RETURNING number"
            ).fetchall()
            for tally in tallies:
                self._add(connection, tally, change)

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
        with self._transaction() as connection:
            connection.execute("DELETE FROM session WHERE day <= ?", (number,))
            connection.execute("DELETE FROM detail WHERE day <= ?", (number,))

    def close(self) -> None:
        self._connection.close()

    def _add(self, connection: sqlite3.Connection, tally: Tally, change: int) -> None:
        key = (
            (tally.day_utc - _EPOCH).days,
            tally.domain,
            self._number(connection, "record", tally.record.encode("utf-8", "surrogateescape")),
            self._number(connection, "policy", _encode(tally.policy)),
            tally.origin,
        )
        connection.execute(_COUNT, (*key, tally.successes, tally.failures, change))
        for failure, sessions in tally.details:
            number = self._number(connection, "failure", _encode(failure))
            connection.execute(_DETAIL, (*key, number, sessions))

    def _number(self, connection: sqlite3.Connection, table: str, content: bytes) -> int:
        found = connection.execute(f"SELECT number FROM {table} WHERE content = ?", (content,)).fetchone()  # noqa: S608 - constant
        if found is None:
            found = connection.execute(
                f"INSERT INTO {table} (content) VALUES (?) RETURNING number",  # noqa: S608 - constant
                (content,),
            ).fetchone()
        return int(found[0])

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
                yield DomainDay(day, Domain(name), record, results)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise CountsError(str(error)) from error

    def _details(self, day: int, row: _SessionRow) -> list[Detail]:
        if not row[4]:
            return []
        found = self._connection.execute(_DETAILS, (day, row[0], *row[6:])).fetchall()
        return [Detail(_failures.decode(content), sessions) for content, sessions in found]

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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL, NORMAL loses the last commits with the power
    connection.execute("BEGIN IMMEDIATE")
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    if version == 0:
        for statement in _SCHEMA.split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"schema {version} is newer than this Mailward, which knows {SCHEMA_VERSION}"
        )
    return connection
