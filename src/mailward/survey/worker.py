"""A worker process: names in, frames of finished rows out, some hundred domains under way at a time."""

import asyncio
import gc
import signal
from collections import deque
from multiprocessing.connection import Connection

import msgspec
import uvloop

from mailward.core.survey.columns import Row
from mailward.core.survey.listing import Entry
from mailward.probe.survey import Surveyor, SurveyWays
from mailward.survey.journal import encode_frame

FRAME_ROWS = 250
FRAME_SECONDS = 0.5
RAMP, RAMP_SECONDS = 32, 0.005  # domains begun at once: more would overflow the buffer of a resolver's socket

_GC = (20_000, 20, 20)
"""Rows are many objects, and none of them a cycle: looking for some takes a tenth of the time by the defaults."""

Task = tuple[int, Entry]
"""A place of the plan, and what stands there."""


def encode_tasks(tasks: list[Task]) -> bytes:
    return msgspec.msgpack.encode(tasks)


def work(connection: "Connection[bytes, bytes]", ways: SurveyWays) -> None:
    """Until the other end sends an empty message, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the parent decides
    gc.freeze()
    gc.set_threshold(*_GC)
    uvloop.run(_Worker(connection, ways).run())


class _Worker:
    def __init__(self, connection: "Connection[bytes, bytes]", ways: SurveyWays) -> None:
        self._connection, self._ways = connection, ways
        self._waiting: deque[Task] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._places: list[int] = []
        self._rows: list[Row] = []
        self._is_over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._surveyor = Surveyor(self._ways)
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
        self._waiting.extend(msgspec.msgpack.decode(message, type=list[Task]))
        self._start()

    def _start(self) -> None:
        begun = 0
        while self._waiting and len(self._running) < self._ways.concurrency:
            if begun == RAMP:
                self._loop.call_later(RAMP_SECONDS, self._start)
                return
            begun += 1
            task = self._loop.create_task(self._look(*self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._finish)

    async def _look(self, place: int, entry: Entry) -> None:
        row = await self._surveyor.make_row(entry)
        self._places.append(place)
        self._rows.append(row)
        if len(self._rows) >= FRAME_ROWS:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(FRAME_SECONDS, self._send)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

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
