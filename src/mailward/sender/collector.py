"""The collector: a process of its own that turns Postfix's datagrams into counts on the disk.

Another process takes datagrams from the kernel (`receive`), and a thread of this one moves them on (`drain`). Here they
are read, added up (`pending`) and committed, some three times a second. Nobody waits for it, and it can be killed: what
comes meanwhile waits in the ring that the parent made, and what is lost is what came since the last commit. What a full
or locked disk does not take stays in memory and is tried again.
"""

import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

from mailward.config import Settings
from mailward.core.postfix.datagram import Datagram, DatagramError, read_datagram
from mailward.core.tlsrpt.counting import Tally
from mailward.core.tlsrpt.joining import Signal
from mailward.net import clock
from mailward.sender.counts import MAX_ODDITY_BYTES, Counts, CountsError, Oddity
from mailward.sender.drain import Drain, Ordered, Taken
from mailward.sender.logobserver import LogObserver
from mailward.sender.pending import Pending, session_tally
from mailward.sender.receive import Intake
from mailward.sender.signalnumbers import UNREADABLE, Number
from mailward.sender.signals import WANTED_QUEUE_LENGTH, Signals
from mailward.sender.workers import heed_stop

logger = logging.getLogger("mailward.sender")

STEP_SECONDS = 0.3
RETRY_SECONDS = 2.0  # after a commit that failed
BUSY_SECONDS = 0.5  # what another process's writing is waited for
PLACE_SECONDS = 30.0
ALARM_SECONDS = 60.0  # between two lines about the same trouble
MAX_READ = 20_000  # datagrams that are remembered as they were read
MAX_READ_BYTES = 2_048  # of such a one
TIDY_SECONDS = 60.0
MAX_ODDITIES_A_STEP = 20
NICE = 5  # who receives goes first, for its queue is short


class Observer(Protocol):
    """Hears of each session, and corrects what was counted. Nothing here may take long."""

    def start(self) -> None: ...

    def observe(self, signals: Sequence[Signal]) -> None:
        """What was added up just now."""

    def take(self) -> tuple[list[Tally], str | None]:
        """What is to be committed with it, and the place in Postfix's log that is then reached; None: no news."""

    def stop(self) -> None: ...


class Collector:
    def __init__(self, path: Path, signals: Signals, observer: Observer | None = None) -> None:
        """`path`: of the counts."""
        self._path = path
        self._signals, self._numbers = signals, signals.numbers
        self._observer = observer
        intake = Intake(signals.ring, signals.socket, signals.queue_length)
        self._drain = Drain(signals.ring, intake, in_order=observer is not None)
        self._counts: Counts | None = None
        self._pending = Pending()
        self._place: str | None = None
        """In Postfix's log, as far as `pending` has it."""
        self._committed_place: str | None = None
        self._place_at = float("-inf")
        self._oddities: list[Oddity] = []
        self._read: dict[bytes, Datagram] = {}
        self._retry_at = float("-inf")
        self._said_at: dict[str, float] = {}
        self._tidied_at = clock.monotonic()
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> int:
        """Until `stop`; then takes what is still in the queue. The exit status."""
        self._drain.start()
        if self._observer is not None:
            self._observer.start()
        logger.info("collector-started", extra={"counts": str(self._path)})
        while not self._stopping.wait(STEP_SECONDS):
            self._step()
            if not self._drain.is_running:
                self._finish()
                return 1
        self._drain.stop()
        self._signals.socket.close()  # without the parent, who sends now is told that nobody takes it
        if self._observer is not None:
            self._observer.stop()
        self._retry_at = float("-inf")
        self._step()
        return self._finish()

    def _finish(self) -> int:
        if self._counts is not None:
            self._counts.close()
        if self._pending:
            logger.error("signals-lost", extra={"sessions": self._pending.sessions})
            return 1
        logger.info("collector-stopped")
        return 0

    def _step(self) -> None:
        taken, day = self._drain.take(), clock.today()
        self._count(taken, day)
        refused = sum(self._pending.add_tally(tally) for tally in self._signals.inbox.take())
        self._tell_refused(refused, "memory")
        if self._observer is not None:
            self._hear(self._observer, taken.ordered, day)
        if self._pending or self._oddities or self._is_place_due():
            self._commit()
        if not taken.received:
            self._tidy()

    def _tidy(self) -> None:
        if clock.monotonic() - self._tidied_at >= TIDY_SECONDS:
            self._tidied_at = clock.monotonic()
            gc.collect()

    def _is_place_due(self) -> bool:
        """A place alone is in no hurry: what is read again from there has nothing to count."""
        later = self._place_at + PLACE_SECONDS
        return self._place != self._committed_place and clock.monotonic() >= later

    def _count(self, taken: Taken, day: date) -> None:
        numbers = self._numbers
        numbers.add(Number.RECEIVED, taken.received)
        numbers.add(Number.QUEUE_FULL, taken.full)
        numbers.add(Number.DROPPED, taken.dropped)
        if taken.dropped:
            self._say("signals-dropped", count=taken.dropped, reason="they come faster than they are read")
        refused = 0
        for raw, count in taken.counts.items():
            datagram = self._datagram(raw, count)
            if datagram is not None:
                refused += self._pending.add_datagram(datagram, day, count, len(raw))
        self._tell_refused(refused, "memory")
        numbers.set(Number.UNCOMMITTED, self._pending.sessions)

    def _datagram(self, raw: bytes, count: int) -> Datagram | None:
        found = self._read.get(raw)
        if found is not None:
            return found
        try:
            datagram = read_datagram(raw)
        except DatagramError as error:
            self._numbers.add(UNREADABLE.get(error.code, Number.DAMAGED), count)
            self._keep_oddity(raw, error, count)
            return None
        if len(raw) <= MAX_READ_BYTES:
            if len(self._read) >= MAX_READ:
                del self._read[next(iter(self._read))]
            self._read[raw] = datagram
        return datagram

    def _keep_oddity(self, raw: bytes, error: DatagramError, count: int) -> None:
        self._say("signal-unreadable", code=error.code, reason=str(error))
        if len(self._oddities) < MAX_ODDITIES_A_STEP:
            now = int(clock.now().timestamp())
            self._oddities.append(Oddity(now, error.code, str(error), raw[:MAX_ODDITY_BYTES], count))

    def _hear(self, observer: Observer, ordered: Sequence[Ordered], day: date) -> None:
        """Its corrections come after what they correct, and under the same day."""
        tallies, place = observer.take()
        refused = sum(self._pending.add_tally(tally) for tally in tallies)
        self._tell_refused(refused, "memory")
        if place is not None:
            self._place = place
        signals = []
        for each in ordered:
            datagram = self._read.get(each.raw)
            if datagram is None:
                try:
                    datagram = read_datagram(each.raw)
                except DatagramError:
                    continue
            sessions = datagram.sessions
            signals += [
                Signal(each.pid, each.at, session_tally(datagram, session, day)) for session in sessions
            ]
        if signals:
            observer.observe(signals)

    def _commit(self) -> None:
        if clock.monotonic() < self._retry_at:
            return
        try:
            if self._counts is None:
                self._counts = Counts(self._path, busy_seconds=BUSY_SECONDS)
            refused = self._counts.add(self._pending.tallies(), self._place)
            self._committed_place, self._place_at = self._place, clock.monotonic()
            sessions = self._pending.sessions
            self._pending.clear()
            oddities, self._oddities = self._oddities, []
            if oddities:
                self._counts.keep_oddities(oddities)
        except CountsError as error:
            self._numbers.add(Number.COMMIT_ERRORS, 1)
            self._retry_at = clock.monotonic() + RETRY_SECONDS
            self._say("counts-not-written", sessions=self._pending.sessions, reason=str(error))
            return
        self._numbers.add(Number.COMMITS, 1)
        self._numbers.add(Number.SESSIONS, sessions - refused)
        self._numbers.set(Number.UNCOMMITTED, 0)
        self._tell_refused(refused, "domains")

    def _tell_refused(self, sessions: int, bound: str) -> None:
        self._numbers.add(Number.REFUSED, sessions)
        if sessions:
            self._say("sessions-not-counted", count=sessions, bound=bound)

    def _say(self, event: str, **facts: object) -> None:
        """Once a minute: the numbers have the rest."""
        now = clock.monotonic()
        if now - self._said_at.get(event, float("-inf")) >= ALARM_SECONDS:
            self._said_at[event] = now
            logger.error(event, extra=facts)


def run_collector(settings: Settings, signals: Signals) -> int:
    """In a process of its own, until SIGTERM or SIGINT; its exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    observer = LogObserver(settings, signals.numbers) if settings.tlsrpt.log else None
    collector = Collector(settings.tlsrpt_counts_path, signals, observer)
    heed_stop(collector.stop)
    if signals.queue_length < WANTED_QUEUE_LENGTH:
        with contextlib.suppress(OSError):
            os.nice(NICE)
    gc.freeze()
    gc.disable()  # a walk over all objects takes long: it is made when nothing comes
    return collector.run()
