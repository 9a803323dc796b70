"""Several processes on one socket: the kernel gives each new connection to one of them.

They share the cache's file and nothing else. Each learns from it what the others have learned when it first needs it,
and at each recheck; who fetches anew what nobody asked for is divided by name. When one dies, the kernel closes its
connections, Postfix connects again by itself and meets another; the dead one is replaced within a second.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from mailward.sender.sockets import notify

logger = logging.getLogger("mailward.sender")

RESTART_SECONDS = 1.0  # a worker that dies at once must not keep a core busy
READY_SECONDS = 60.0
Work = Callable[["Worker", Sequence[socket.socket]], int]
"""What a worker does, until it is told to stop; returns its exit status."""


@dataclass(frozen=True, slots=True)
class Worker:
    number: int = 0
    count: int = 1
    ready_fd: int = -1
    """Where it says that it answers; -1: straight to systemd."""

    def tell_ready(self) -> None:
        if self.ready_fd < 0:
            notify("READY=1", os.environ)
            return
        with contextlib.suppress(OSError):
            os.write(self.ready_fd, b"r")

    def tell_stopping(self) -> None:
        if self.ready_fd < 0:
            notify("STOPPING=1", os.environ)


ALONE = Worker()


class Workers:
    """The parent: it starts them, replaces those that die, and hands on signals."""

    def __init__(self, count: int, sockets: Sequence[socket.socket], work: Work) -> None:
        self._count, self._sockets, self._work = count, sockets, work
        self._pids: dict[int, int] = {}
        """Process -> number."""
        self._stopping = False
        self._ready_read, self._ready_write = os.pipe()

    def run(self) -> int:
        """Until SIGTERM or SIGINT; 0, or the status of a worker that could not start at all."""
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._hand_on)
        for number in range(self._count):
            self._start(number)
        failed = self._wait_until_ready()
        if not failed:
            notify("READY=1", os.environ)
        while self._pids:
            pid, status = os.wait()
            number = self._pids.pop(pid, -1)
            if self._stopping or number < 0:
                continue
            logger.error("worker-died", extra={"worker": number, "status": os.waitstatus_to_exitcode(status)})
            time.sleep(RESTART_SECONDS)
            if not self._stopping:
                self._start(number)
        return failed

    def _start(self, number: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(number)
        self._pids[pid] = number

    def _become(self, number: int) -> NoReturn:
        """In the child: work, and never come back."""
        status = 1
        try:
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(name, signal.SIG_DFL)
            os.close(self._ready_read)
            status = self._work(Worker(number, self._count, self._ready_write), self._sockets)
        except BaseException:
            logger.exception("worker-crashed", extra={"worker": number})
        finally:
            os._exit(status)

    def _wait_until_ready(self) -> int:
        """0 when all answer. Where one ends before, all are stopped, and its status is the outcome."""
        os.set_blocking(self._ready_read, False)
        ready = 0
        deadline = time.monotonic() + READY_SECONDS
        while ready < self._count and time.monotonic() < deadline and not self._stopping:
            with contextlib.suppress(BlockingIOError):
                ready += len(os.read(self._ready_read, self._count))
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._pids.pop(pid, None)
                self._stop(signal.SIGTERM)
                return os.waitstatus_to_exitcode(status) or 1
            time.sleep(0.02)
        return 0

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._send(number)
            return
        notify("STOPPING=1", os.environ)
        self._stop(number)

    def _stop(self, number: int) -> None:
        self._stopping = True
        self._send(number)

    def _send(self, number: int) -> None:
        for pid in list(self._pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
