"""What was counted for reports, in one SQLite file: durable when `add` returns, read a domain at a time.

One process writes (the collector), another reads (who makes the reports). Policies, records and failures come again and
again, so that they stand once and are named by number.

A day is counted in parts. The first is what its report has; when that is begun, the part is closed, and what
comes later is in the next one, for a supplement. So each session is in one report, and what is read does not
change meanwhile.
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

SCHEMA_VERSION = 2
BUSY_SECONDS = 10.0
MAX_ODDITIES, MAX_ODDITY_BYTES = 200, 8192
_SLICE = 500  # domains
MAX_DAYS = 60
"""Beyond it the first ones go, reported or not: who counts and never reports must not fill the disk. By their number,
not by the clock, which may be wrong.
"""
_EPOCH = date(1970, 1, 1)

_TABLES = """
CREATE TABLE session (
    day INTEGER NOT NULL,
    part INTEGER NOT NULL,
    domain TEXT NOT NULL,
    record INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    origin TEXT NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    details INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, part, domain, record, policy, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE detail (
    day INTEGER NOT NULL,
    part INTEGER NOT NULL,
    domain TEXT NOT NULL,
    record INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    origin TEXT NOT NULL,
    failure INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, part, domain, record, policy, origin, failure)
) STRICT, WITHOUT ROWID;
CREATE TABLE cut (
    day INTEGER NOT NULL,
    part INTEGER NOT NULL,
    domain TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, part, domain)
) STRICT, WITHOUT ROWID;
CREATE TABLE part (day INTEGER PRIMARY KEY, open INTEGER NOT NULL) STRICT;
"""
_SCHEMA = f"""
CREATE TABLE policy (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE failure (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE record (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE) STRICT;
{_TABLES}
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
"""  # noqa: S608 - constants, as below
_STEPS = {
    1: f"""
ALTER TABLE session RENAME TO old_session;
ALTER TABLE detail RENAME TO old_detail;
ALTER TABLE cut RENAME TO old_cut;
{_TABLES}
INSERT INTO session
    SELECT day, 0, domain, record, policy, origin, successes, failures, changed, details FROM old_session;
INSERT INTO detail SELECT day, 0, domain, record, policy, origin, failure, sessions FROM old_detail;
INSERT INTO cut SELECT day, 0, domain, sessions FROM old_cut;
DROP TABLE old_session;
DROP TABLE old_detail;
DROP TABLE old_cut;
"""  # noqa: S608
}
_SESSIONS = """
SELECT session.domain, record.content, policy.content, successes, failures, changed,
    session.record, session.policy, session.origin, details
FROM session JOIN record ON record.number = session.record JOIN policy ON policy.number = session.policy
WHERE day = :day AND part = :part AND (:domain IS NULL OR session.domain = :domain) ORDER BY session.domain
"""
_DETAILS = """
SELECT failure.content, sessions FROM detail JOIN failure ON failure.number = detail.failure
WHERE day = ? AND part = ? AND domain = ? AND record = ? AND policy = ? AND origin = ?
"""
# one look for each that there is, instead of a walk over all rows
_NEXT_PART = "SELECT day, part FROM session WHERE (day, part) > (?, ?) ORDER BY day, part LIMIT 1"
_OLDEST = "SELECT DISTINCT day, part, domain FROM session WHERE day <= ? LIMIT ?"
_KEEP_PARTS_DAYS = 400  # so long it is remembered that a day was reported
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


class Part(NamedTuple):
    """Of what is counted for a day."""

    day: date
    number: int
    is_open: bool
    """Whether more may come."""


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
        self._newest: date | None = None
        self._is_to_look = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = _connect(path, busy_seconds)
        except (OSError, sqlite3.Error) as error:
            raise CountsError(f"{path}: {error}") from error

    def add(self, tallies: Sequence[Tally], place: str | None = None) -> int:
        """All of them, or none; how many sessions found no room: there are too many domains. `place`: in Postfix's log,
        up to which they hold. Raises CountsError.
        """
        self._make_room(max((tally.day_utc for tally in tallies), default=None))
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

    def _make_room(self, newest: date | None) -> None:
        """Some of the days beyond MAX_DAYS, so that no commit takes long. Raises CountsError."""
        if newest == self._newest and not self._is_to_look:
            return
        days = self.days()
        is_beyond = len(days) > MAX_DAYS
        # a new day is there only after this commit
        self._is_to_look, self._newest = is_beyond or newest != self._newest, newest
        if is_beyond and not self._forget_some(last := (days[-MAX_DAYS - 1] - _EPOCH).days):
            self.forget(_EPOCH + timedelta(days=last))

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
        return list(dict.fromkeys(part.day for part in self.parts()))

    def parts(self) -> list[Part]:
        """Those that something is counted in, oldest first. Raises CountsError."""
        rows = self._read("SELECT day, open FROM part", ())
        opened = dict(msgspec.convert(rows, list[tuple[int, int]]))
        found, at = [], (-(2**62), 0)
        while rows := self._read(_NEXT_PART, at):
            day, number = at = msgspec.convert(rows[0], tuple[int, int])
            found.append(Part(_EPOCH + timedelta(days=day), number, opened.get(day, 0) == number))
        return found

    def close_part(self, part: Part) -> None:
        """What comes from now on is in the next one. Raises CountsError."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO part VALUES (?, ?) ON CONFLICT DO UPDATE SET open = max(open, excluded.open)",
                ((part.day - _EPOCH).days, part.number + 1),
            )
            connection.execute("UPDATE change SET forgotten = forgotten + 1")

    def read_part(self, part: Part) -> Iterator[DomainDay]:
        """By domain. One domain at a time is in memory; other connections may write meanwhile. Raises CountsError."""
        for name, rows in self._rows(part, None):
            yield self._add_up(part, name, [(part.number, row) for row in rows])

    def read_domain(self, day: date, domain: Domain) -> DomainDay | None:
        """Of all parts together. Raises CountsError."""
        parts = [part for part in self.parts() if part.day == day]
        rows = [(part.number, row) for part in parts for _, rows in self._rows(part, domain) for row in rows]
        return self._add_up(parts[0], domain, rows) if rows else None

    def forget(self, day: date) -> None:
        """What was counted for that day and those before. Raises CountsError."""
        number = (day - _EPOCH).days
        while self._forget_some(number):
            pass  # a slice at a time: whoever counts waits for no more than one of them
        with self._transaction() as connection:
            connection.execute("DELETE FROM cut WHERE day <= ?", (number,))
            connection.execute("DELETE FROM part WHERE day <= ?", (number - _KEEP_PARTS_DAYS,))
            for name in ("policy", "record"):
                connection.execute(f"DELETE FROM {name} WHERE number NOT IN (SELECT {name} FROM session)")  # noqa: S608 - constant
            connection.execute("DELETE FROM failure WHERE number NOT IN (SELECT failure FROM detail)")
            connection.execute("UPDATE change SET forgotten = forgotten + 1")

    def _forget_some(self, day: int) -> bool:
        """Whether there may be more."""
        with self._transaction() as connection:
            found = connection.execute(_OLDEST, (day, _SLICE)).fetchall()
            connection.executemany("DELETE FROM detail WHERE day = ? AND part = ? AND domain = ?", found)
            connection.executemany("DELETE FROM session WHERE day = ? AND part = ? AND domain = ?", found)
        return len(found) == _SLICE

    def close(self) -> None:
        self._connection.close()

    def _rows(self, part: Part, domain: Domain | None) -> Iterator[tuple[str, list[_SessionRow]]]:
        place = {"day": (part.day - _EPOCH).days, "part": part.number, "domain": domain}
        try:
            cursor = self._connection.execute(_SESSIONS, place)
            rows = (msgspec.convert(row, _SessionRow) for row in cursor)
            for name, of_domain in groupby(rows, key=lambda row: row[0]):
                yield name, list(of_domain)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise CountsError(str(error)) from error

    def _add_up(self, part: Part, domain: str, rows: Sequence[tuple[int, _SessionRow]]) -> DomainDay:
        day = (part.day - _EPOCH).days
        try:
            results = add_up(
                (_policies.decode(row[2]), row[3], row[4], self._details(day, number, row))
                for number, row in rows
            )
            cut = sum(self._cut(day, number, domain) for number in {number for number, _ in rows})
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise CountsError(str(error)) from error
        record = max(rows, key=lambda each: each[1][5])[1][1].decode("utf-8", "surrogateescape")
        return DomainDay(part.day, Domain(domain), record, results, cut, part.number)

    def _details(self, day: int, part: int, row: _SessionRow) -> list[Detail]:
        if not row[9]:
            return []
        found = self._connection.execute(_DETAILS, (day, part, row[0], *row[6:9])).fetchall()
        return [Detail(_failures.decode(content), sessions) for content, sessions in found]

    def _cut(self, day: int, part: int, domain: str) -> int:
        query = "SELECT sessions FROM cut WHERE day = ? AND part = ? AND domain = ?"
        found = self._connection.execute(query, (day, part, domain)).fetchone()
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
    return open_schema(path, busy_seconds, _SCHEMA, SCHEMA_VERSION, _STEPS)
