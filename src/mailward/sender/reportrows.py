"""What the file of reports and deliveries holds: its tables, and their rows as values."""

import sqlite3
from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from mailward.sender.durable import open_schema

SCHEMA_VERSION = 3
_BUSY_SECONDS = 10.0
EPOCH = date(1970, 1, 1)

_TABLES = """
CREATE TABLE day (
    day INTEGER NOT NULL,
    part INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    made_to TEXT NOT NULL,
    is_complete INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    left_out INTEGER NOT NULL,
    PRIMARY KEY (day, part)
) STRICT;
CREATE TABLE report (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    part INTEGER NOT NULL,
    report_id TEXT NOT NULL,
    content BLOB NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    notes TEXT NOT NULL,
    PRIMARY KEY (day, domain, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
    number INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    part INTEGER NOT NULL,
    rua TEXT NOT NULL,
    address TEXT NOT NULL,
    max_bytes INTEGER NOT NULL,
    token TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    is_repeat INTEGER NOT NULL,
    UNIQUE (day, domain, part, rua)
) STRICT;
CREATE INDEX delivery_due ON delivery (address = '', next_at) WHERE state = 'waiting';
CREATE INDEX delivery_sending ON delivery (number) WHERE state = 'sending';
CREATE INDEX delivery_rua ON delivery (rua, day);
"""
_CLOCK = """
CREATE TABLE clock (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    boot TEXT NOT NULL,
    since_boot REAL NOT NULL,
    wall REAL NOT NULL,
    held_until REAL NOT NULL,
    is_doubt INTEGER NOT NULL
) STRICT;
"""
_INSTANCE = """
CREATE TABLE IF NOT EXISTS instance (number INTEGER PRIMARY KEY CHECK (number = 1), id TEXT NOT NULL) STRICT;
INSERT OR IGNORE INTO instance VALUES (1, lower(hex(randomblob(16))));
"""
# destinations writes https ruas with a path always
HOST = "substr(rua, 9, instr(substr(rua, 9), '/') - 1)"
"""Host and port of an https rua, in SQL; word for word as in the index."""
_HOSTS = f"""
CREATE INDEX IF NOT EXISTS delivery_host ON delivery ({HOST}, next_at) WHERE state = 'waiting' AND address = '';
"""
_SCHEMA = f"""{_TABLES}{_CLOCK}
CREATE TABLE suppression (
    rua TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
"""
_STEPS = {
    1: f"""
ALTER TABLE day RENAME TO old_day;
ALTER TABLE report RENAME TO old_report;
ALTER TABLE delivery RENAME TO old_delivery;
DROP INDEX delivery_due;
DROP INDEX delivery_sending;
DROP INDEX delivery_rua;
{_TABLES}
INSERT INTO day SELECT day, 0, made_at, made_to, is_complete, reports, left_out FROM old_day;
INSERT INTO report SELECT day, domain, 0, report_id, content, successes, failures, cut, notes FROM old_report;
INSERT INTO delivery SELECT number, day, domain, 0, rua, address, max_bytes, token, state, attempts, next_at,
    tried_at, outcome, is_repeat FROM old_delivery;
DROP TABLE old_day;
DROP TABLE old_report;
DROP TABLE old_delivery;
""",  # noqa: S608 - constants
    2: _CLOCK,
}
_ADDITIONS = _INSTANCE + _HOSTS


class State(StrEnum):
    """Of one delivery."""

    WAITING = "waiting"
    SENDING = "sending"
    """Begun; found at a start: cut off, and perhaps delivered."""
    DELIVERED = "delivered"
    """Accepted: by the web server, or by the local mail server."""
    FAILED = "failed"
    BOUNCED = "bounced"
    """Accepted by the local mail server, returned later."""
    SUPPRESSED = "suppressed"
    """Not tried: what went there before came back for days."""
    DROPPED = "dropped"
    """By the operator."""


class NewDelivery(NamedTuple):
    rua: str
    address: str
    max_bytes: int
    next_at: int


class NewReport(NamedTuple):
    domain: str
    report_id: str
    content: bytes
    """JSON, gzipped."""
    successes: int
    failures: int
    cut: int
    notes: str
    """What is wrong with the record, for the list."""
    deliveries: Sequence[NewDelivery]


class Delivery(NamedTuple):
    number: int
    day_number: int
    domain: str
    part: int
    """0: the report of the day; above: a supplement, of what was counted later."""
    rua: str
    address: str
    """For mailto; empty for https."""
    max_bytes: int
    token: str
    """Nobody can guess it: it names the delivery in Message-ID and envelope sender."""
    state: str
    attempts: int
    next_at: int
    tried_at: int
    outcome: str
    is_repeat: int

    @property
    def day(self) -> date:
        return EPOCH + timedelta(days=self.day_number)


class Content(NamedTuple):
    report_id: str
    gzipped: bytes
    cut: int


class Listed(NamedTuple):
    delivery: Delivery
    report_id: str
    successes: int
    failures: int
    cut: int
    notes: str


class SeenClock(NamedTuple):
    """What the clock said last."""

    boot: str
    """Which start of the machine it was; empty: not known."""
    since_boot: float
    wall: float
    """Seconds since 1970."""
    held_until: float
    """In seconds since the start: before that no day is made."""
    is_doubt: bool


class Suppression(NamedTuple):
    rua: str
    since: int
    until: int
    reason: str


class StoreError(Exception):
    """The file cannot be read or written; the text says why."""

    code = "report-store"


def open_tables(path: Path) -> sqlite3.Connection:
    """Made if needed. Raises sqlite3.Error."""
    return open_schema(path, _BUSY_SECONDS, _SCHEMA, SCHEMA_VERSION, _STEPS, _ADDITIONS)
