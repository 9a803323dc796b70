"""Looking at many domains: three questions each, a policy where a record announces one, and each MX host once.

    rows = survey_batch(entries, ways)      # the unit of work: a batch of domains in, rows out

`survey_batch` is a function of picklable values, for any engine that spreads work over processes; `Surveyor` is
what one process goes on using, with sockets and what it knows of MX hosts. Less is asked than by
`observe.Observer`: no policy host without a record, one address of it as a sender would, no CAA, no https
report target, and without SMTP no MX host is spoken to. Whatever happens to a domain, it becomes a row.
"""

import asyncio
from collections.abc import Callable, Sequence

import uvloop

from mailward.core.survey.columns import Row
from mailward.core.survey.listing import Entry
from mailward.core.survey.parts import Parts, join_row
from mailward.probe.mxsessions import MxSessions
from mailward.probe.surveydesk import Desk
from mailward.probe.surveylook import Look
from mailward.probe.surveysteps import Steps
from mailward.probe.surveyways import SUFFIX_LIST, SurveyWays, read_suffixes

__all__ = ["SUFFIX_LIST", "SurveyWays", "Surveyor", "read_suffixes", "survey_batch"]


def survey_batch(entries: Sequence[Entry], ways: SurveyWays) -> list[Row]:
    """One row for each entry, in their order. Raises nothing for what the network does."""
    return uvloop.run(_survey_batch(entries, ways))


async def _survey_batch(entries: Sequence[Entry], ways: SurveyWays) -> list[Row]:
    surveyor = Surveyor(ways)
    rows: dict[int, Row] = {}
    waiting = iter(enumerate(entries))

    async def look() -> None:
        for place, entry in waiting:
            rows[place] = await surveyor.make_row(entry)

    try:
        await asyncio.gather(*(look() for _ in range(min(ways.concurrency, len(entries)))))
        return [rows[place] for place in range(len(entries))]
    finally:
        surveyor.close()


class Surveyor:
    """Within a running event loop, for it alone. Raises ValueError for ways that cannot be gone."""

    def __init__(self, ways: SurveyWays) -> None:
        self._desk = Desk(ways)
        self._steps = Steps(self._desk)
        self._opened: asyncio.Task[None] | None = None
        self._sessions: MxSessions | None = None
        if ways.has_smtp:
            self._sessions = MxSessions(
                ways.sessions_file,
                guard=self._desk.guard,
                rate=ways.smtp_rate,
                ca_file=ways.ca_file,
                port=ways.smtp_port,
                ehlo_name=ways.ehlo_name,
            )

    def close(self) -> None:
        self._desk.close()
        if self._sessions is not None:
            self._sessions.close()

    async def open(self) -> None:
        """Before the first domain: ask whether the resolver validates."""
        if self._opened is None:
            self._opened = asyncio.ensure_future(self._ask_whether_it_validates())
        await asyncio.shield(self._opened)

    def begin(self, entry: Entry, done: Callable[[Parts], None]) -> None:
        """Look at a domain; `done` is called with its row, whatever happens. Never before this returns."""
        Look(self._desk, self._steps, self._sessions, entry, done).begin()

    @property
    def questions(self) -> int:
        """How many wait for an answer now."""
        return self._desk.stream.under_way

    async def make_row(self, entry: Entry) -> Row:
        """Raises nothing but asyncio.CancelledError."""
        await self.open()
        row: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self.begin(entry, lambda parts: None if row.done() else row.set_result(join_row(*parts)))
        return await row

    async def _ask_whether_it_validates(self) -> None:
        answer = await self._desk.resolver.lookup(".", "SOA")
        self._desk.validates = answer.authenticated
