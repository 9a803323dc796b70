"""The reports that are made and where they go, in one SQLite file: what was acknowledged to nobody is not lost.

One row of `delivery` for each (day, domain, rua), and for each supplement of that day. It is marked `sending` before
anything leaves the machine, and `delivered` after the other side has accepted; what is found `sending` at a start, or
later while nobody sends it, was cut off in between, is sent again with the same Report-ID and Message-ID, and carries
the mark of a possible repeat from then on.

The reporter is one process (it holds a lock beside the file); commands write beside it.
"""

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from mailward.sender.reportrows import (
    EPOCH,
    HOST,
    Content,
    Delivery,
    Listed,
    NewReport,
    SeenClock,
    State,
    StoreError,
    Suppression,
    open_tables,
)

_MAX_OUTCOME = 300
_MAX_GIVEN_UP = 10_000
_KEEP_DAY_ROWS = 400  # days: so long it is known that they were reported
_COLUMNS = """
delivery.number, delivery.day, delivery.domain, delivery.part, delivery.rua, delivery.address, delivery.max_bytes,
delivery.token, delivery.state, delivery.attempts, delivery.next_at, delivery.tried_at, delivery.outcome,
delivery.is_repeat
"""


class ReportStore:
    def __init__(self, path: Path) -> None:
        """Opens the file, made if needed. Raises StoreError."""
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = open_tables(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: {error}") from error

    def close(self) -> None:
        self._connection.close()

    # Making a day

    def instance(self) -> str:
        """What tells this store's reports from those of another machine under the same contact; it never changes."""
        with self._reading() as connection:
            [(found,)] = connection.execute("SELECT id FROM instance").fetchall()
        return str(found)

    def complete_parts(self) -> dict[tuple[date, int], int]:
        """Days, and parts of them, that all reports are made for; and when that was begun. Raises StoreError, as all
        here do.
        """
        with self._reading() as connection:
            rows = connection.execute("SELECT day, part, made_at FROM day WHERE is_complete").fetchall()
        return {(EPOCH + timedelta(days=day), part): at for day, part, at in rows}

    def first_made_at(self) -> int | None:
        """When the first reports ever were made."""
        with self._reading() as connection:
            [(at,)] = connection.execute("SELECT min(made_at) FROM day").fetchall()
        return None if at is None else int(at)

    def made_to(self, day: date, part: int) -> str:
        """The last domain that the day's report is made for; empty: none yet."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT made_to FROM day WHERE day = ? AND part = ?", (_number(day), part)
            ).fetchone()
        return str(row[0]) if row else ""

    def add_reports(
        self,
        day: date,
        part: int,
        reports: Sequence[NewReport],
        made_to: str,
        left_out: int,
        now: int,
        *,
        complete: bool,
    ) -> None:
        """All of them or none; with the last, the day is complete."""
        place = _number(day), part
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO day VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET made_to = excluded.made_to,"
                " is_complete = excluded.is_complete, reports = reports + excluded.reports,"
                " left_out = left_out + excluded.left_out",
                (*place, now, made_to, complete, len(reports), left_out),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO report (day, part, domain, report_id, content, successes, failures, cut, notes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((*place, *report[:-1]) for report in reports),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO delivery VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, 0)",
                self._new_rows(connection, place, reports, now),
            )

    def _new_rows(
        self, connection: sqlite3.Connection, place: tuple[int, int], reports: Sequence[NewReport], now: int
    ) -> Iterator[tuple[object, ...]]:
        suppressed = dict(
            connection.execute("SELECT rua, reason FROM suppression WHERE until > ?", (now,)).fetchall()
        )
        day, part = place
        for report in reports:
            for new in report.deliveries:
                state, outcome = State.WAITING, ""
                if new.rua in suppressed:
                    state, outcome = State.SUPPRESSED, suppressed[new.rua]
                token = secrets.token_hex(16)
                yield (
                    day,
                    report.domain,
                    part,
                    new.rua,
                    new.address,
                    new.max_bytes,
                    token,
                    state,
                    new.next_at,
                    outcome,
                )
            if not report.deliveries:
                reason = f"no usable rua: {report.notes}"[:_MAX_OUTCOME]
                yield (day, report.domain, part, "", "", 0, secrets.token_hex(16), State.FAILED, 0, reason)

    def seen_clock(self) -> SeenClock | None:
        """What the clock said when it was kept last."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT boot, since_boot, wall, held_until, is_doubt FROM clock"
            ).fetchone()
        return SeenClock(*row) if row else None

    def keep_clock(self, seen: SeenClock) -> None:
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?, ?)", seen)

    # Delivering

    def recover(self, now: int) -> int:
        """At the start: what was cut off while it was sent waits again, marked. How many they were."""
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE delivery SET state = 'waiting', is_repeat = 1, next_at = ?,"
                " outcome = 'cut off while it was sent' WHERE state = 'sending'",
                (now,),
            ).rowcount

    def sending(self) -> list[Delivery]:
        """What is marked and has no outcome."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM delivery WHERE state = 'sending'"  # noqa: S608 - constant
            ).fetchall()
        return [Delivery(*row) for row in rows]

    def pull_in(self, now: int, at_most: int) -> int:
        """What waits longer than anything may, because the clock went back, waits so many seconds."""
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE delivery SET next_at = ?1 + ?2 WHERE state = 'waiting' AND next_at > ?1 + ?2",
                (now, at_most),
            ).rowcount

    def due(self, now: int, limit: int, *, host: str = "") -> list[Delivery]:
        """By HTTPS to that host; without one by mail."""
        there = f"address = '' AND {HOST} = ?" if host else "(address = '') = 0 AND ? = ''"
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM delivery WHERE state = 'waiting' AND {there}"  # noqa: S608 - constants
                " AND next_at <= ? ORDER BY next_at LIMIT ?",
                (host, now, limit),
            ).fetchall()
        return [Delivery(*row) for row in rows]

    def due_hosts(self, now: int, limit: int) -> list[str]:
        """Host and port of each that something is due to by HTTPS, the longest due first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {HOST} FROM delivery WHERE state = 'waiting' AND address = '' AND next_at <= ?"  # noqa: S608
                f" GROUP BY {HOST} ORDER BY min(next_at) LIMIT ?",
                (now, limit),
            ).fetchall()
        return [host for (host,) in rows]

    def waiting_since(self, made_before: int) -> list[Delivery]:
        """What waits, of reports that were made before that; some at a time."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM delivery JOIN day USING (day, part)"  # noqa: S608 - constant
                " WHERE state = 'waiting' AND made_at < ? LIMIT ?",
                (made_before, _MAX_GIVEN_UP),
            ).fetchall()
        return [Delivery(*row) for row in rows]

    def next_at(self) -> int | None:
        """When the next waiting delivery is due."""
        with self._reading() as connection:
            [(at,)] = connection.execute(
                "SELECT min(next_at) FROM delivery WHERE state = 'waiting'"
            ).fetchall()
        return None if at is None else int(at)

    def content(self, delivery: Delivery) -> Content | None:
        with self._reading() as connection:
            row = connection.execute(
                "SELECT report_id, content, cut FROM report WHERE day = ? AND domain = ? AND part = ?",
                (delivery.day_number, delivery.domain, delivery.part),
            ).fetchone()
        return Content(*row) if row else None

    def mark(self, delivery: Delivery, now: int) -> bool:
        """Before anything leaves the machine; False where it does not wait any more."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE delivery SET state = 'sending', attempts = attempts + 1, tried_at = ?"
                " WHERE number = ? AND state = 'waiting'",
                (now, delivery.number),
            ).rowcount
        return changed == 1

    def postpone(
        self, delivery: Delivery, next_at: int, outcome: str, *, counts: bool = True, is_repeat: bool = False
    ) -> None:
        """What was begun waits again. `counts`: as one of its attempts. `is_repeat`: the other side may have it."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE delivery SET state = 'waiting', next_at = ?, outcome = ?, is_repeat = max(is_repeat, ?),"
                " attempts = attempts - ? WHERE number = ?",
                (next_at, outcome[:_MAX_OUTCOME], is_repeat, not counts, delivery.number),
            )

    def put_off(self, delivery: Delivery, next_at: int, outcome: str, *, counts: bool) -> None:
        """It waits on, without having been begun; `counts`: as one of its attempts all the same."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE delivery SET next_at = ?, outcome = ?, attempts = attempts + ?"
                " WHERE number = ? AND state = 'waiting'",
                (next_at, outcome[:_MAX_OUTCOME], counts, delivery.number),
            )

    def finish(self, delivery: Delivery, state: State, outcome: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE delivery SET state = ?, outcome = ? WHERE number = ?",
                (state, outcome[:_MAX_OUTCOME], delivery.number),
            )

    def find_token(self, tokens: Iterable[str]) -> Delivery | None:
        with self._reading() as connection:
            for token in tokens:
                row = connection.execute(
                    f"SELECT {_COLUMNS} FROM delivery WHERE token = ?",  # noqa: S608 - constant
                    (token,),
                ).fetchone()
                if row is not None:
                    return Delivery(*row)
        return None

    # Suppression

    def suppress_if_bad(self, delivery: Delivery, days: int, until: int, now: int) -> bool:
        """Whether on each of its last `days` days something failed there and nothing was delivered; then it is
        suppressed. Later days are not looked at: what was accepted then may still come back. What was given up before
        it could be tried says nothing of the rua.
        """
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT max(state = 'delivered'), max(state IN ('failed', 'bounced') AND attempts > 0) FROM delivery"
                " WHERE rua = ? AND day <= ? GROUP BY day ORDER BY day DESC LIMIT ?",
                (delivery.rua, delivery.day_number, days),
            ).fetchall()
            if len(rows) < days or any(delivered or not bad for delivered, bad in rows):
                return False
            [(reason,)] = connection.execute(
                "SELECT outcome FROM delivery WHERE number = ?", (delivery.number,)
            ).fetchall()
            reason = f"{days} days without success, the last: {reason}"[:_MAX_OUTCOME]
            connection.execute(
                "INSERT OR REPLACE INTO suppression VALUES (?, ?, ?, ?)", (delivery.rua, now, until, reason)
            )
            connection.execute(
                "UPDATE delivery SET state = 'suppressed', outcome = ? WHERE rua = ? AND state = 'waiting'",
                (reason, delivery.rua),
            )
        return True

    def suppressions(self, now: int) -> list[Suppression]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT rua, since, until, reason FROM suppression WHERE until > ? ORDER BY rua", (now,)
            ).fetchall()
        return [Suppression(*row) for row in rows]

    def unsuppress(self, rua: str, now: int) -> bool:
        """What was not tried because of it waits again. False where it was not suppressed."""
        with self._transaction() as connection:
            gone = connection.execute("DELETE FROM suppression WHERE rua = ?", (rua,)).rowcount
            connection.execute(
                "UPDATE delivery SET state = 'waiting', attempts = 0, next_at = ?, outcome = ''"
                " WHERE rua = ? AND state = 'suppressed'",
                (now, rua),
            )
        return gone > 0

    # For people

    def listing(
        self, *, day: date | None = None, domain: str = "", states: Sequence[str] = (), limit: int = -1
    ) -> Iterator[Listed]:
        """By day, the last first, then domain and rua."""
        numbers = None if day is None else _number(day)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS}, report.report_id, report.successes, report.failures, report.cut, report.notes"  # noqa: S608
                " FROM delivery JOIN report USING (day, domain, part) WHERE (:day IS NULL OR day = :day)"
                " AND (:domain = '' OR domain = :domain) AND (:states = '' OR instr(:states, ' ' || state || ' '))"
                " ORDER BY day DESC, domain, part, rua LIMIT :limit",
                {
                    "day": numbers,
                    "domain": domain,
                    "states": f" {' '.join(states)} " if states else "",
                    "limit": limit,
                },
            )
            for row in rows:
                yield Listed(Delivery(*row[:14]), *row[14:])

    def waiting(self) -> int:
        with self._reading() as connection:
            [(count,)] = connection.execute(
                "SELECT count(*) FROM delivery WHERE state = 'waiting'"
            ).fetchall()
        return int(count)

    def totals(self) -> dict[str, int]:
        """State -> deliveries."""
        with self._reading() as connection:
            return dict(connection.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall())

    def change(self, domain: str, day: date | None, states: Sequence[State], to: State, now: int) -> int:
        """By the operator: deliveries of the domain in one of `states` wait anew, or are dropped. How many."""
        names = ", ".join(f"'{state}'" for state in states)
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE delivery SET state = :to, attempts = 0, next_at = :now, outcome = 'by the operator'"  # noqa: S608
                " WHERE domain = :domain AND rua != '' AND (:day IS NULL OR day = :day)"
                f" AND state IN ({names})",
                {"to": to, "now": now, "domain": domain, "day": None if day is None else _number(day)},
            ).rowcount

    def forget(self, before: date, now: int) -> int:
        """Reports of earlier days that nothing waits for, and suppressions that have ended. How many deliveries."""
        number = _number(before)
        with self._transaction() as connection:
            gone = connection.execute(
                "DELETE FROM delivery WHERE day < ? AND state NOT IN ('waiting', 'sending')", (number,)
            ).rowcount
            connection.execute(
                "DELETE FROM report WHERE day < ? AND NOT EXISTS (SELECT 1 FROM delivery"
                " WHERE delivery.day = report.day AND delivery.domain = report.domain AND delivery.part = report.part)",
                (number,),
            )
            connection.execute("DELETE FROM day WHERE day < ?", (number - _KEEP_DAY_ROWS,))
            connection.execute("DELETE FROM suppression WHERE until <= ?", (now,))
        return gone

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise StoreError(str(error)) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise


def _number(day: date) -> int:
    return (day - EPOCH).days
