"""Tallies into the tables of `counts`, with room for all that is real and a bound for what is not.

A stranger decides how many domains, policies, records and different failures we see. Domains beyond the bound are not
counted; what a domain has beyond its own is counted less exactly: policies without their text, failures without texts,
then without addresses, then by result type alone.

Writes to one file by one process at a time: what it remembers spares most of the looking.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec

from mailward.core.tlsrpt.coarse import COARSEST, coarser
from mailward.core.tlsrpt.counting import Detail, Tally
from mailward.core.tlsrpt.schema import Policy

_EPOCH = date(1970, 1, 1)
MAX_KNOWN = 200_000  # rows remembered
MAX_NUMBER_BYTES = 32 * 1024 * 1024  # of policies, records and failures remembered
_ADD = """
UPDATE session SET successes = successes + ?, failures = failures + ?, changed = ?
WHERE day = ? AND part = ? AND domain = ? AND record = ? AND policy = ? AND origin = ?
"""
_NEW = """
INSERT INTO session (successes, failures, changed, day, part, domain, record, policy, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_DETAIL = """
UPDATE detail SET sessions = sessions + ?
WHERE day = ? AND part = ? AND domain = ? AND record = ? AND policy = ? AND origin = ? AND failure = ?
"""
_NEW_DETAIL = """
INSERT INTO detail (sessions, day, part, domain, record, policy, origin, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_MORE_DETAILS = """
UPDATE session SET details = details + 1
WHERE day = ? AND part = ? AND domain = ? AND record = ? AND policy = ? AND origin = ?
"""
_CUT = "INSERT INTO cut VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions"
_OF_DOMAIN = """
SELECT count(*), coalesce(sum(details), 0), min(record) FROM session WHERE day = ? AND part = ? AND domain = ?
"""
_OF_PART = "SELECT count(DISTINCT domain), coalesce(sum(details), 0) FROM session WHERE day = ? AND part = ?"

_Key = tuple[int, int, str, int, int, str]
"""Day since 1970, its part, domain, number of the record, number of the policy, origin."""
_DetailKey = tuple[int, int, str, int, int, str, int]
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one UTC day, or of what came when it was closed."""

    domains: int = 500_000
    rows: int = 200
    """Of one domain: records, policies and origins that were seen together."""
    details: int = 1_000
    """Of one domain, at full length; half as many again without texts, and as many again without addresses."""
    all_details: int = 2_000_000
    """Beyond it, everybody's new failures are counted by result type alone."""


LIMITS = Limits()


@dataclass(slots=True)
class _Domain:
    rows: int
    details: int
    record: int | None
    """One of its records."""


@dataclass(slots=True)
class _Part:
    domains: int
    details: int


@dataclass(slots=True)
class _Batch:
    connection: sqlite3.Connection
    change: int
    adds: list[tuple[int, int, int, int, int, str, int, int, str]] = field(default_factory=list)
    detail_adds: list[tuple[int, int, int, str, int, int, str, int]] = field(default_factory=list)
    cuts: dict[tuple[int, int, str], int] = field(default_factory=dict)


class CountsWriter:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: set[_Key] = set()
        self._known_details: set[_DetailKey] = set()
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._number_bytes = 0
        self._domains: dict[tuple[int, int, str], _Domain] = {}
        self._parts: dict[tuple[int, int], _Part] = {}
        self._open: dict[int, int] | None = None
        """The part of a day that is counted in, where it is not the first."""

    def forget(self) -> None:
        """What is remembered may not be true any more."""
        self._known.clear()
        self._known_details.clear()
        self._numbers.clear()
        self._number_bytes = 0
        self._domains.clear()
        self._parts.clear()
        self._open = None

    def add(self, connection: sqlite3.Connection, tallies: Sequence[Tally], change: int) -> int:
        """Inside a transaction. How many sessions found no room. Raises sqlite3.Error."""
        batch = _Batch(connection, change)
        if self._open is None:
            self._open = dict(connection.execute("SELECT day, open FROM part").fetchall())
        refused = 0
        for tally in tallies:
            day = (tally.day_utc - _EPOCH).days
            key = self._place(batch, tally, day, self._open.get(day, 0))
            if key is None:
                refused += abs(tally.successes) + abs(tally.failures)
                continue
            for detail in tally.details:
                self._place_detail(batch, key, detail)
        connection.executemany(_ADD, batch.adds)
        connection.executemany(_ADD_DETAIL, batch.detail_adds)
        connection.executemany(_CUT, [(*of, sessions) for of, sessions in batch.cuts.items()])
        return refused

    def _place(self, batch: _Batch, tally: Tally, day: int, part: int) -> _Key | None:
        """The row that it is counted in."""
        record = self._number(batch, "record", tally.record.encode("utf-8", "surrogateescape"))
        policy = self._number(batch, "policy", _encode(tally.policy))
        key: _Key = (day, part, tally.domain, record, policy, tally.origin)
        numbers = (tally.successes, tally.failures, batch.change)
        if key in self._known:
            batch.adds.append((*numbers, *key))
            return key
        if self._add_to(batch, numbers, key):
            return key
        found = self._domain(batch, key)
        if not found.rows:
            of_part = self._part(batch, key)
            if of_part.domains >= self._limits.domains:
                return None
            of_part.domains += 1
        elif found.rows >= self._limits.rows:
            key = self._coarse_key(batch, tally, key, found)
            if self._add_to(batch, numbers, key):
                return key
        batch.connection.execute(_NEW, (*numbers, *key))
        found.rows += 1
        found.record = key[3] if found.record is None else found.record
        self._remember(key)
        return key

    def _coarse_key(self, batch: _Batch, tally: Tally, key: _Key, found: _Domain) -> _Key:
        """Few for each domain, whatever it publishes."""
        plain = Policy(policy_type=tally.policy.policy_type, policy_domain=tally.domain)
        record = key[3] if found.record is None else found.record
        return (*key[:3], record, self._number(batch, "policy", _encode(plain)), key[5])

    def _add_to(self, batch: _Batch, numbers: tuple[int, int, int], key: _Key) -> bool:
        """Whether the row was there."""
        if not batch.connection.execute(_ADD, (*numbers, *key)).rowcount:
            return False
        self._remember(key)
        return True

    def _place_detail(self, batch: _Batch, key: _Key, detail: Detail) -> None:
        for level in range(COARSEST + 1):
            row = (*key, self._number(batch, "failure", _encode(coarser(detail.failure, level))))
            if row in self._known_details:
                batch.detail_adds.append((detail.sessions, *row))
            elif batch.connection.execute(_ADD_DETAIL, (detail.sessions, *row)).rowcount:
                self._remember_detail(row)
            elif self._has_room(batch, key, level):
                batch.connection.execute(_NEW_DETAIL, (detail.sessions, *row))
                batch.connection.execute(_MORE_DETAILS, key)
                self._domain(batch, key).details += 1
                self._part(batch, key).details += 1
                self._remember_detail(row)
            else:
                continue
            if level and detail.sessions > 0:
                batch.cuts[key[:3]] = batch.cuts.get(key[:3], 0) + detail.sessions
            return

    def _has_room(self, batch: _Batch, key: _Key, level: int) -> bool:
        if level == COARSEST:
            return True
        if self._part(batch, key).details >= self._limits.all_details:
            return False
        at_most = self._limits.details + level * self._limits.details // 2
        return self._domain(batch, key).details < at_most

    def _domain(self, batch: _Batch, key: _Key) -> _Domain:
        found = self._domains.get(key[:3])
        if found is None:
            [(rows, details, record)] = batch.connection.execute(_OF_DOMAIN, key[:3]).fetchall()
            if len(self._domains) >= MAX_KNOWN:
                self._domains.clear()
            found = self._domains[key[:3]] = _Domain(rows, details, record)
        return found

    def _part(self, batch: _Batch, key: _Key) -> _Part:
        found = self._parts.get(key[:2])
        if found is None:
            [(domains, details)] = batch.connection.execute(_OF_PART, key[:2]).fetchall()
            if len(self._parts) >= 100:
                self._parts.clear()
            found = self._parts[key[:2]] = _Part(domains, details)
        return found

    def _number(self, batch: _Batch, table: str, content: bytes) -> int:
        number = self._numbers.get((table, content))
        if number is None:
            number = _find_number(batch.connection, table, content)
            self._number_bytes += len(content) + 200
            if self._number_bytes > MAX_NUMBER_BYTES:
                self._numbers.clear()
                self._number_bytes = 0
            self._numbers[table, content] = number
        return number

    def _remember(self, key: _Key) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(key)

    def _remember_detail(self, row: _DetailKey) -> None:
        if len(self._known_details) >= MAX_KNOWN:
            self._known_details.clear()
        self._known_details.add(row)


def _find_number(connection: sqlite3.Connection, table: str, content: bytes) -> int:
    found = connection.execute(f"SELECT number FROM {table} WHERE content = ?", (content,)).fetchone()  # noqa: S608 - constant
    if found is None:
        found = connection.execute(
            f"INSERT INTO {table} (content) VALUES (?) RETURNING number",  # noqa: S608 - constant
            (content,),
        ).fetchone()
    return int(found[0])
