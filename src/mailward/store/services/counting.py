"""The daily tables: what counted reports add up to, per policy type and never summed over types.

Counts are gathered over a batch and then added in one statement a table, so that a row that many reports
touch is written once.
"""

from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from mailward.store.services.incoming import ShareDigest

_MAX_DAYS_AHEAD = timedelta(days=2)
"""Clocks and time zones differ; a report from further ahead is kept and not counted."""

_Row = tuple[int, date, str, int]
"""Domain, day, reporter, organisation: what one report's counts share."""
_Cause = tuple[str, str, str, str]


def is_countable(day: date, received_at: datetime) -> bool:
    """Whether a day can be right. Old ones are (imports bring years); those that have not come are not."""
    return day <= (received_at + _MAX_DAYS_AHEAD).date()


class DailyCounts:
    """What a batch adds to the daily tables."""

    def __init__(self) -> None:
        self._sessions: dict[_Row, dict[str, list[int]]] = {}
        self._failures: dict[_Row, dict[_Cause, int]] = {}
        self._taken = False

    def add(self, organisation_id: int, share: ShareDigest, day: date, reporter: str, sign: int = 1) -> None:
        """Book one report's share; with `sign` -1, take it back."""
        if share.domain_id is None:
            raise ValueError("a foreign share is never counted")
        self._taken = self._taken or sign < 0
        row = (share.domain_id, day, reporter, organisation_id)
        if share.sessions:
            kinds = self._sessions.setdefault(row, {})
            for kind, ok, failed in share.sessions:
                counts = kinds.setdefault(kind, [0, 0, 0])
                counts[0] += sign * ok
                counts[1] += sign * failed
                counts[2] += sign
        if share.failures:
            causes = self._failures.setdefault(row, {})
            for kind, name, host, address, number in share.failures:
                cause = (kind, name, host, address)
                causes[cause] = causes.get(cause, 0) + sign * number

    @property
    def domain_ids(self) -> set[int]:
        """The domains whose rows change."""
        return {row[0] for row in self._sessions} | {row[0] for row in self._failures}

    def write(self) -> None:
        """Add to the tables, inside the caller's transaction."""
        sessions, failures = self._session_rows(), self._failure_rows()
        with connection.cursor() as cursor:
            if sessions:
                cursor.executemany(_ADD_SESSIONS, sessions)
            if failures:
                cursor.executemany(_ADD_FAILURES, failures)
            if self._taken:
                cursor.executemany(_FORGET_SESSIONS, [row[1:5] for row in sessions])
                cursor.executemany(_FORGET_FAILURES, [row[1:8] for row in failures])

    # Rows come in the order of their unique index: neighbours on the disk, and two transactions that touch
    # the
    # same rows lock them in the same order.

    def _session_rows(self) -> list[tuple[Any, ...]]:
        adapt = connection.ops.adapt_datefield_value
        rows: list[tuple[Any, ...]] = []
        for (domain, day, reporter, organisation), kinds in sorted(self._sessions.items()):
            text = adapt(day)
            rows += [
                (organisation, domain, text, kind, reporter, *counts)
                for kind, counts in sorted(kinds.items())
            ]
        return rows

    def _failure_rows(self) -> list[tuple[Any, ...]]:
        adapt = connection.ops.adapt_datefield_value
        rows: list[tuple[Any, ...]] = []
        for (domain, day, reporter, organisation), causes in sorted(self._failures.items()):
            text = adapt(day)
            rows += [
                (organisation, domain, text, kind, name, host, reporter, address, number)
                for (kind, name, host, address), number in sorted(causes.items())
            ]
        return rows


_ADD_SESSIONS = """
INSERT INTO store_dailysessions
    (organisation_id, domain_id, day, policy_type, reporter, ok, failed, reports)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (domain_id, day, policy_type, reporter) DO UPDATE SET
    ok = store_dailysessions.ok + excluded.ok,
    failed = store_dailysessions.failed + excluded.failed,
    reports = store_dailysessions.reports + excluded.reports
"""

_ADD_FAILURES = """
INSERT INTO store_dailyfailures
    (organisation_id, domain_id, day, policy_type, result_type, host, reporter, sending_ip, sessions)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (domain_id, day, policy_type, result_type, host, reporter, sending_ip) DO UPDATE SET
    sessions = store_dailyfailures.sessions + excluded.sessions
"""

_FORGET_SESSIONS = """
DELETE FROM store_dailysessions
WHERE domain_id = %s AND day = %s AND policy_type = %s AND reporter = %s AND reports <= 0
"""

_FORGET_FAILURES = """
DELETE FROM store_dailyfailures
WHERE domain_id = %s AND day = %s AND policy_type = %s AND result_type = %s AND host = %s AND reporter = %s
    AND sending_ip = %s AND sessions <= 0
"""
