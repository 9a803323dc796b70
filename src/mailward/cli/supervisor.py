"""Keeps child processes running, each on its own: one that dies is started again, the others never notice."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from mailward.net import clock
from mailward.net.metrics import SOCKET_VARIABLE

_log = logging.getLogger("mailward.supervisor")

FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that lived this long starts again with the first delay."""
GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    command: tuple[str, ...]


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
        self._stopping = asyncio.Event()
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        """By the name of the child; the last one that was started."""
        self.starts: Counter[str] = Counter()
        self._open_line = open_line

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Run all children until `stop`; then end them: SIGTERM, and SIGKILL after the grace."""
        async with asyncio.TaskGroup() as tasks:
            for child in self._children:
                tasks.create_task(self._keep(child))

    async def _keep(self, child: Child) -> None:
        delay = self._first_delay
        while not self._stopping.is_set():
            started = clock.monotonic()
            process = await self._start(child)
            self.processes[child.name] = process
            self.starts[child.name] += 1
            if await self._exits(process):
                lived = clock.monotonic() - started
                if lived >= STEADY_SECONDS:
                    delay = self._first_delay
                _log.error(
                    "child-died",
                    extra={
                        "child": child.name,
                        "status": _describe(process.returncode),
                        "after": f"{lived:.1f}s",
                        "again-in": f"{delay:g}s",
                    },
                )
                await self._pause(delay)
                delay = min(delay * 2, MAX_DELAY_SECONDS)
            else:
                await self._end(child, process)

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        with self._open_line(child.name) as line:
            passed = {} if line is None else {SOCKET_VARIABLE: str(line.fileno())}
            return await asyncio.create_subprocess_exec(
                *child.command,
                env=self._environment | passed,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=() if line is None else (line.fileno(),),
                # a session of its own: Ctrl-C in the terminal reaches us alone, and we end the children
                start_new_session=True,
            )

    async def _exits(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for the process to end (True), or for us to stop (False)."""
        exited = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((exited, stopping), return_when=asyncio.FIRST_COMPLETED)
            return not self._stopping.is_set()
        finally:
            exited.cancel()
            stopping.cancel()

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
