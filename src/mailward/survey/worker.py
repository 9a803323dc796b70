"""A worker process: names in, frames of finished rows out, some hundred domains under way at a time."""

import asyncio
import signal
from collections import deque
from functools import partial
from multiprocessing.connection import Connection

import uvloop

from mailward.core.survey.parts import Parts
from mailward.probe.survey import Surveyor, SurveyWays
from mailward.survey.journal import encode_frame
from mailward.survey.processes import collect_seldom
from mailward.survey.tasks import Task, decode_tasks

FRAME_ROWS = 1000
FRAME_SECONDS = 0.5
RAMP, RAMP_SECONDS = 32, 0.005  # domains begun at once: more would overflow the buffer of a resolver's socket


def work(connection: "Connection[bytes, bytes]", ways: SurveyWays) -> None:
    """Until the other end sends an empty message, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the parent decides
    collect_seldom()
    uvloop.run(_Worker(connection, ways).run())


class _Worker:
    def __init__(self, connection: "Connection[bytes, bytes]", ways: SurveyWays) -> None:
        self._connection, self._ways = connection, ways
        self._waiting: deque[Task] = deque()
        self._under_way = 0
        self._is_due = False
        """Whether `_start` is about to be called."""
        self._places: list[int] = []
        self._rows: list[Parts] = []
        self._is_over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._surveyor = Surveyor(self._ways)
        await self._surveyor.open()
        self._loop.add_reader(self._connection.fileno(), self._receive)
        try:
            await self._is_over.wait()
        finally:
            self._loop.remove_reader(self._connection.fileno())
            self._surveyor.close()

    def _receive(self) -> None:
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError):
            message = b""  # nobody is there for whom there would be work
        if not message:
            self._is_over.set()
            return
        self._waiting.extend(decode_tasks(message))
        self._plan_start(0)

    def _plan_start(self, seconds: float) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(seconds, self._start) if seconds else self._loop.call_soon(self._start)

    def _start(self) -> None:
        """Begin with as many as there may be."""
        self._is_due = False
        limit, surveyor = self._ways.concurrency, self._surveyor
        for _ in range(min(RAMP, limit - self._under_way)):
            if not self._waiting or surveyor.questions >= limit:
                return
            place, entry = self._waiting.popleft()
            self._under_way += 1
            surveyor.begin(entry, partial(self._finish, place))
        if self._waiting and self._under_way < limit:
            self._plan_start(RAMP_SECONDS)

    def _finish(self, place: int, row: Parts) -> None:
        self._under_way -= 1
        self._places.append(place)
        self._rows.append(row)
        if len(self._rows) >= FRAME_ROWS or self._has_little:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(FRAME_SECONDS, self._send)
        if not self._is_due:
            self._plan_start(0)

    @property
    def _has_little(self) -> bool:
        """Whether more must come soon, or all is done: the crew hears of it, and nobody waits for the timer."""
        return not self._waiting and self._under_way in (self._ways.concurrency // 2, 0)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        frame = encode_frame(self._places, self._rows)
        self._places, self._rows = [], []
        try:
            self._connection.send_bytes(frame)
        except OSError:
            self._is_over.set()
