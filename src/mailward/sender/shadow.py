"""Shadow mode: Postfix is answered as if we were not there, and what we would have said is written down.

Mail never waits for us: the answer (NOTFOUND, or the site's own table's) leaves at once, the decision is made
behind it and goes into a journal of its own, a row for each next hop.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailward.core.postfix import netstring, socketmap
from mailward.core.postfix.answer import render
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop
from mailward.core.postfix.socketmap import QueryError, dialect_of, parse_query
from mailward.core.sending.facts import Decision, Row, Site
from mailward.net import clock
from mailward.sender.answers import Answers
from mailward.sender.cache import CacheError
from mailward.sender.census import open_for_reading
from mailward.sender.durable import use_write_ahead_log
from mailward.sender.knowledge import Knowledge
from mailward.sender.memo import NOTFOUND_FRAME, Subject
from mailward.sender.metrics import Metrics
from mailward.sender.sitetable import NoTable, SiteTable

logger = logging.getLogger("mailward.sender")

_BUSY_SECONDS = 5.0
MAX_DECIDING = 2_000  # decisions under way; more questions are answered and not written down
MAX_ROWS = 50_000  # next hops in the journal; those not asked for the longest time go first
FLUSH_SECONDS = 1.0
REPEAT_SECONDS = 300.0  # a next hop asked again within this is not decided again

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shadow (
    nexthop TEXT PRIMARY KEY, row TEXT NOT NULL, answer TEXT NOT NULL, reason TEXT NOT NULL, site TEXT NOT NULL,
    times INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL
) STRICT
"""
_PUT = """
INSERT INTO shadow VALUES (?, ?, ?, ?, ?, 1, ?, ?)
ON CONFLICT (nexthop) DO UPDATE SET row = excluded.row, answer = excluded.answer, reason = excluded.reason,
    site = excluded.site, times = times + 1, last_at = excluded.last_at
"""
_TRIM = """
DELETE FROM shadow WHERE nexthop IN (
    SELECT nexthop FROM shadow ORDER BY last_at LIMIT max(0, (SELECT count(*) FROM shadow) - ?)
)
"""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What a next hop would have got."""

    nexthop: str
    row: str
    answer: str
    reason: str
    site: str
    """What Postfix was told instead."""
    times: int
    """Questions that were decided: at most one in five minutes."""
    first_at: int
    last_at: int


class ShadowJournal:
    """Its rows are evidence, not policies: the last second of them may be lost with the process."""

    def __init__(self, path: Path) -> None:
        """Raises CacheError."""
        self._path = path
        self._waiting: list[tuple[object, ...]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.closing(sqlite3.connect(path)) as connection:
                use_write_ahead_log(connection, _BUSY_SECONDS)
                connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise CacheError(f"{path}: {error}") from error

    def note(self, nexthop: NextHop, decision: Decision, answer: bytes, site: bytes) -> None:
        now = int(clock.now().timestamp())
        texts = (answer[:500].decode("ascii", "replace"), decision.reason[:500], _plain(site))
        if len(self._waiting) < MAX_DECIDING:
            self._waiting.append((str(nexthop), decision.row.value, *texts, now, now))

    async def run(self) -> None:
        """Until cancelled; then what waits is still written."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            self._write(self._take())

    async def flush(self) -> None:
        if rows := self._take():
            await asyncio.to_thread(self._write, rows)

    def _take(self) -> list[tuple[object, ...]]:
        rows, self._waiting = self._waiting, []
        return rows

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        if not rows:
            return
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
                connection.executemany(_PUT, rows)
                connection.execute(_TRIM, (MAX_ROWS,))
        except sqlite3.Error as error:
            logger.error("shadow-not-written", extra={"rows": len(rows), "reason": str(error)})


def read_journal(path: Path, since: int = 0) -> list[Shadowed]:
    """By next hop. Raises CacheError."""
    query = "SELECT nexthop, row, answer, reason, site, times, first_at, last_at FROM shadow"
    try:
        with contextlib.closing(open_for_reading(path)) as connection:
            rows = connection.execute(f"{query} WHERE last_at >= ? ORDER BY nexthop", (since,)).fetchall()
    except sqlite3.Error as error:
        raise CacheError(f"{path}: {error}") from error
    return [Shadowed(*row) for row in rows]


class ShadowAnswers(Answers):
    """Takes the place of Answers in the daemon."""

    def __init__(
        self, knowledge: Knowledge, site: Site, metrics: Metrics, table: SiteTable, journal: ShadowJournal
    ) -> None:
        super().__init__(knowledge, site, metrics)
        self.table = table
        self.journal = journal
        self._deciding: dict[NextHop, asyncio.Task[None]] = {}

    async def answer(self, payload: bytes) -> bytes:
        self.metrics.memo_misses += 1
        try:
            query = parse_query(payload)
        except QueryError as error:
            return netstring.encode(socketmap.perm(str(error)))
        site = await self.table.ask(query.key)
        nexthop = parse_nexthop(query.key)
        if isinstance(nexthop, NoPolicy):
            self.metrics.answers[Row.NOT_A_DOMAIN] += 1
        else:
            subject = Subject(query.map_name, query.key, nexthop.domain)
            self._decide_later(nexthop, subject, netstring.encode(payload), site)
        return netstring.encode(site)

    async def settle(self) -> None:
        """Until every decision under way is made."""
        await asyncio.gather(*self._deciding.values(), return_exceptions=True)

    async def close(self) -> None:
        for task in list(self._deciding.values()):
            task.cancel()
        await self.settle()
        await self.table.close()

    def _decide_later(self, nexthop: NextHop, subject: Subject, asked: bytes, site: bytes) -> None:
        if nexthop in self._deciding or len(self._deciding) >= MAX_DECIDING:
            return
        task = asyncio.get_running_loop().create_task(self._decide(nexthop, subject, asked, site))
        self._deciding[nexthop] = task
        task.add_done_callback(lambda _: self._deciding.pop(nexthop, None))

    async def _decide(self, nexthop: NextHop, subject: Subject, asked: bytes, site: bytes) -> None:
        try:
            decision, until = await self.decide(nexthop)
        except Exception:  # Postfix has its answer already; a mistake of ours must only be seen
            logger.exception("answer-failed", extra={"query": str(nexthop)})
            return
        self.metrics.answers[decision.row] += 1
        would = render(decision, dialect_of(subject.map_name))
        self._note(nexthop, decision, would, asked)
        if decision.row is not Row.NOTHING:
            self.journal.note(nexthop, decision, would, site)
        until = min(until, clock.monotonic() + REPEAT_SECONDS)
        if isinstance(self.table, NoTable):
            self.memo.keep(asked, until, NOTFOUND_FRAME, decision.row, subject)
        else:  # for its row alone: the table's next answer may be another
            self.memo.keep(asked, 0.0, NOTFOUND_FRAME, decision.row)


def would_matter(found: Sequence[Shadowed]) -> list[Shadowed]:
    """Those that Postfix would have treated otherwise than it did."""
    return [row for row in found if row.answer.split(" ", 1)[0] != "NOTFOUND" and row.answer != row.site]


def _plain(reply: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in reply[:500].decode("ascii", "replace"))
