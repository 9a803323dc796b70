"""Keeps child processes running, each on its own: one that dies is started again, the others never notice.

The listening sockets are the supervisor's, and each child is given its own of them: while a child is away, who connects
waits in the kernel and is not refused. A child shows by its pulse (mailward.net.pulse) that it serves.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from mailward.doctor.standing import Standing
from mailward.net import clock, listening, pulse
from mailward.net.metrics import SOCKET_VARIABLE

_log = logging.getLogger("mailward.supervisor")

FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that lived this long starts again with the first delay."""
GRACE_SECONDS = 10.0
HUNG_BEATS = 24
"""A child that misses so many beats of its pulse hangs. Counted, not timed: after a pause of the whole machine, nothing
has been missed.
"""
SILENT_BEATS = 3
"""Who misses so many is told to hang; a loop that is only busy misses one."""


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    command: tuple[str, ...]
    sockets: Mapping[str, Sequence[socket.socket]] = field(default_factory=dict)
    """By the name of the service: what it is given to listen on."""
    needs_tables: bool = False
    """Whether it is started only after `Supervisor.go_on`."""
    is_vital: bool = False
    """Whether its absence is noticed by other people's mail servers."""


class Supervisor:
    def __init__(
        self,
        children: Sequence[Child],
        environment: Mapping[str, str] | None = None,
        *,
        first_delay_seconds: float = FIRST_DELAY_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        open_line: Callable[[str], AbstractContextManager[socket.socket | None]] = lambda _: nullcontext(),
    ) -> None:
        """`open_line` gives the socket that a child of this name is asked at for its numbers."""
        self._children = tuple(children)
        self._environment = dict(os.environ if environment is None else environment)
        self._first_delay = first_delay_seconds
        self._grace = grace_seconds
        self._stopping, self._has_tables = asyncio.Event(), asyncio.Event()
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        """By the name of the child; the last one that was started."""
        self.starts: Counter[str] = Counter()
        self._open_line = open_line
        self._ready = {child.name: asyncio.Event() for child in children}
        self._ends: Counter[str] = Counter()
        """Of those that have not lived for STEADY_SECONDS since, each end in a row."""
        self._missed = dict.fromkeys(self._ready, 0)
        """Beats, since the last that was felt, or since the child was away."""

    def stop(self) -> None:
        self._stopping.set()

    def go_on(self) -> None:
        """Start those that need the tables: they are there."""
        self._has_tables.set()

    async def run(self) -> None:
        """Run all children until `stop`; then end them: SIGTERM, and SIGKILL after the grace."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            for child in self._children:
                tasks.create_task(self._keep(child))
            await self._stopping.wait()
            watching.cancel()

    async def wait_ready(self, seconds: float) -> list[str]:
        """Until all children serve, or the time is over: the names of those that do not."""
        waiting = [asyncio.ensure_future(each.wait()) for each in self._ready.values()]
        await asyncio.wait(waiting, timeout=seconds)
        for each in waiting:
            each.cancel()
        return sorted(self.missing)

    @property
    def missing(self) -> set[str]:
        """Those that do not serve."""
        return {name for name, event in self._ready.items() if not event.is_set()}

    @property
    def is_alive(self) -> bool:
        """Whether no child that others count on has been away, or silent, for long."""
        return all(self._missed[child.name] < HUNG_BEATS for child in self._children if child.is_vital)

    def standing(self) -> tuple[Standing, ...]:
        """How each child is."""
        return tuple(
            Standing(
                name,
                event.is_set(),
                int(missed * pulse.SECONDS) if event.is_set() and missed >= SILENT_BEATS else 0,
                self._ends[name],
            )
            for (name, event), missed in zip(self._ready.items(), self._missed.values(), strict=True)
        )

    async def _watch(self) -> None:
        """End who hangs, so that it is started again."""
        while True:
            await asyncio.sleep(pulse.SECONDS)
            for name, process in self.processes.items():
                self._missed[name] += 1
                hangs = self._missed[name] == HUNG_BEATS and process.returncode is None
                if hangs and self._ready[name].is_set():
                    _log.error("child-hangs", extra={"child": name})
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()

    def _feel(self, name: str, pipe: int) -> None:
        try:
            felt = os.read(pipe, 4096)
        except BlockingIOError:
            return
        if felt:
            self._missed[name] = 0
            self._ready[name].set()
        else:  # it has ended
            asyncio.get_running_loop().remove_reader(pipe)

    async def _start(self, child: Child) -> tuple[asyncio.subprocess.Process, int]:
        """The process, and the pipe in which its pulse is felt."""
        felt, beaten = os.pipe()
        os.set_blocking(felt, False)
        handed = {listening.VARIABLE: listening.hand_over(child.sockets), pulse.VARIABLE: str(beaten)}
        numbers = [beaten, *(each.fileno() for held in child.sockets.values() for each in held)]
        try:
            with self._open_line(child.name) as line:
                if line is not None:
                    handed[SOCKET_VARIABLE] = str(line.fileno())
                    numbers.append(line.fileno())
                process = await asyncio.create_subprocess_exec(
                    *child.command,
                    env=self._environment | handed,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=numbers,
                    # a session of its own: Ctrl-C in the terminal reaches us alone, and we end the children
                    start_new_session=True,
                )
        except BaseException:
            os.close(felt)
            raise
        finally:
            os.close(beaten)
        asyncio.get_running_loop().add_reader(felt, self._feel, child.name, felt)
        return process, felt

    def _forget(self, child: Child, pipe: int) -> None:
        self._ready[child.name].clear()
        asyncio.get_running_loop().remove_reader(pipe)
        os.close(pipe)

    async def _keep(self, child: Child) -> None:
        if child.needs_tables:
            await self._either(self._has_tables.wait())
        delay = self._first_delay
        while not self._stopping.is_set():
            started = clock.monotonic()
            status = await self._live(child)
            if status is not None:
                lived = clock.monotonic() - started
                if lived >= STEADY_SECONDS:
                    delay = self._first_delay
                    self._ends[child.name] = 0
                self._ends[child.name] += 1
                _log.error(
                    "child-died",
                    extra={
                        "child": child.name,
                        "status": status,
                        "after": f"{lived:.1f}s",
                        "again-in": f"{delay:g}s",
                    },
                )
                await self._pause(delay)
                delay = min(delay * 2, MAX_DELAY_SECONDS)

    async def _live(self, child: Child) -> str | None:
        """From its start to its end: how it ended by itself; None: we stop."""
        try:
            process, pipe = await self._start(child)
        except OSError as error:  # the machine is out of memory, processes or files: not the others' fault
            return f"not started: {error.strerror or error}"
        self.processes[child.name] = process
        self.starts[child.name] += 1
        exits = await self._exits(process)
        if not exits:
            await self._end(child, process)
        self._forget(child, pipe)
        return _describe(process.returncode) if exits else None

    async def _exits(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for the process to end (True), or for us to stop (False)."""
        await self._either(process.wait())
        return not self._stopping.is_set()

    async def _either(self, other: Coroutine[Any, Any, Any]) -> None:
        """Wait for the other, or for us to stop."""
        waiting = (asyncio.create_task(other), asyncio.create_task(self._stopping.wait()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _end(self, child: Child, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._grace):
                await process.wait()
        except TimeoutError:
            _log.warning("child-killed", extra={"child": child.name, "grace": f"{self._grace:g}s"})
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _describe(status: int | None) -> str:
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"exit {status}"
