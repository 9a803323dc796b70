"""Several processes on one socket: the kernel gives each new connection to one of them.

They share the cache's file, and the names of the domains whose policies are new in it (`hearsay`). Each reads it when
it first needs a policy, when it hears of one, and at each recheck; who fetches anew what nobody asked for is divided by
name. When one dies, the kernel closes its connections, Postfix connects again by itself and meets another; the dead
one is replaced within a second.

Companions are processes that do other work beside them, such as the collector of signals: they are started again too,
more and more slowly, and no worker ever waits for one.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from mailward.net.systemd import notify
from mailward.sender.hearsay import Hearsay

logger = logging.getLogger("mailward.sender")

RESTART_SECONDS = 1.0  # a worker that dies at once must not keep a core busy
READY_SECONDS = 60.0
MAX_RESTART_SECONDS = 30.0  # of a companion that ends again and again
STEADY_SECONDS = 60.0  # one that lived so long is started again soon
_TICK_SECONDS = 0.05
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
Work = Callable[["Worker", Sequence[socket.socket]], int]
"""What a worker does, until it is told to stop; returns its exit status."""


@dataclass(frozen=True, slots=True)
class Worker:
    number: int = 0
    count: int = 1
    ready_fd: int = -1
    """Where it says that it answers; -1: straight to systemd."""
    hearsay: Hearsay | None = None
    """What the others learn."""

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
STOPS = (signal.SIGTERM, signal.SIGINT)


def heed_stop(stop: Callable[[], None]) -> None:
    """In a companion that is ready for it: calls `stop` when it is told to end, or was told so since its start."""
    for number in STOPS:
        signal.signal(number, lambda *_: stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


@dataclass(slots=True)
class Companion:
    """A child that does other work."""

    name: str
    work: Callable[[], int]
    """Until it is told to stop; returns its exit status. It begins with SIGTERM and SIGINT kept back, and lets them in
    when it can heed them: what others leave to it is not lost because it was told to end at once.
    """
    on_start: Callable[[], None] = lambda: None
    """In the parent."""
    first_restart_seconds: float = RESTART_SECONDS
    restart_seconds: float = 0.0
    """The next time."""
    started_at: float = 0.0


class Workers:
    """The parent: it starts them, replaces those that die, and hands on signals."""

    def __init__(
        self,
        count: int,
        sockets: Sequence[socket.socket],
        work: Work,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._count, self._sockets, self._work = count, sockets, work
        self._pids: dict[int, int | Companion] = {}
        """Process -> number of the worker, or what else it is."""
        self._due: list[tuple[float, int | Companion]] = []
        """Who is to be started again, and when (monotonic)."""
        self._companions = companions
        self._stopping = False
        self._parent = os.getpid()
        self._ready_read, self._ready_write = os.pipe()
        self._hearsay = Hearsay()

    def run(self) -> int:
        """Until SIGTERM or SIGINT; 0, or the status of a worker that could not start at all."""
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._hand_on)
        for companion in self._companions:
            self._start(companion)
        for number in range(self._count):
            self._start(number)
        failed = self._wait_until_ready()
        if not failed:
            notify("READY=1", os.environ)
        while self._pids or (self._due and not self._stopping):
            self._reap()
            self._start_due()
        return failed

    def _reap(self) -> None:
        """Waits for the end of a child, but not for long while one is to be started again."""
        if self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG if self._due else 0)
            child = self._pids.pop(pid, None)
            if child is not None and not self._stopping:
                self._note_death(child, os.waitstatus_to_exitcode(status))
        if self._due:
            time.sleep(_TICK_SECONDS)

    def _note_death(self, child: int | Companion, status: int) -> None:
        now = time.monotonic()
        if isinstance(child, Companion):
            seconds = child.restart_seconds
            if not seconds or now - child.started_at > STEADY_SECONDS:
                seconds = child.first_restart_seconds
            child.restart_seconds = min(2 * seconds, MAX_RESTART_SECONDS)
            facts = {"companion": child.name, "status": status, "restart_seconds": seconds}
            logger.error("companion-died", extra=facts)
        else:
            seconds = RESTART_SECONDS
            logger.error("worker-died", extra={"worker": child, "status": status})
        self._due.append((now + seconds, child))

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [child for at, child in self._due if at <= now]
        self._due = [waiting for waiting in self._due if waiting[0] > now]
        for child in due:
            if not self._stopping:
                self._start(child)

    def _start(self, child: int | Companion) -> None:
        if isinstance(child, Companion):
            child.started_at = time.monotonic()
            child.on_start()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        pid = os.fork()
        if pid == 0:
            self._become(child)
        self._pids[pid] = child
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self._stopping:  # told so just now: it may have missed it
            os.kill(pid, signal.SIGTERM)

    def _become(self, child: int | Companion) -> NoReturn:
        """In the child: work, and never come back."""
        status = 1
        try:
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(name, signal.SIG_DFL)
            self._end_with_parent()
            os.close(self._ready_read)
            if isinstance(child, Companion):
                ctypes.CDLL(None).prctl(_PR_SET_NAME, f"mw-{child.name}".encode()[:15])  # as ps shows it
                status = child.work()
            else:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
                worker = Worker(child, self._count, self._ready_write, self._hearsay)
                status = self._work(worker, self._sockets)
        except BaseException:
            which = child.name if isinstance(child, Companion) else child
            logger.exception("worker-crashed", extra={"worker": which})
        finally:
            os._exit(status)

    def _end_with_parent(self) -> None:
        """A parent that is killed takes them with it: else they would keep the sockets from the next one."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._parent:
            os._exit(1)

    def _wait_until_ready(self) -> int:
        """0 when all answer. Where one ends before, all are stopped, and its status is the outcome."""
        os.set_blocking(self._ready_read, False)
        ready = 0
        deadline = time.monotonic() + READY_SECONDS
        while ready < self._count and time.monotonic() < deadline and not self._stopping:
            with contextlib.suppress(BlockingIOError):
                ready += len(os.read(self._ready_read, self._count))
            if ready >= self._count:  # one that ends from now on is replaced
                break
            pid, status = os.waitpid(-1, os.WNOHANG)
            child = self._pids.pop(pid, None)
            if isinstance(child, Companion):  # nobody's answers depend on it
                self._note_death(child, os.waitstatus_to_exitcode(status))
            elif pid:
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
