"""Datagrams and log lines of one Postfix, put together: which session went where, and which had no datagram.

A datagram that reports a success names no host; the line that the same process logs beside it does. Both come in the
order in which that process wrote them, with its id, so that the n-th of a process belongs to the n-th. What nobody
reports at all is mail in the clear: a delivery, or one that was refused, over a connection of its own for which the
process has logged neither TLS nor a datagram. Tried with Postfix 3.10.13; docs/tlsrpt-blind-spots.md tells what is not
known.

    joiner.add_signal(Signal(pid, at, tally), now)
    joiner.add_entry(read_line(line, ...), place, now)
    for session in joiner.settle(now): ...

Each signal and each line is in one session at most. Where a line or a signal may be missing, there is no session.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from mailward.core.names import Domain
from mailward.core.postfix.smtplog import (
    Delivered,
    Entry,
    Established,
    Event,
    NotSent,
    Queued,
    Refused,
    Signalled,
)
from mailward.core.tlsrpt.counting import Tally

SETTLE_SECONDS = 5.0  # a datagram and its line come by different ways: so long the one waits for the other
SIGNAL_SECONDS = 60.0  # a signal whose line has not come by then has none
SLACK_SECONDS = 2.0  # times are cut to seconds in the traditional format
ROUNDED_SECONDS = 0.1  # in `delays=`, where each is above a second
MAX_PROCESSES = 4096  # Postfix's default_process_limit is 100
MAX_SIGNALS = 500  # of one process, waiting
MAX_SEEN = 200  # hosts that one process has had TLS with, lately
MAX_PENDING = 50_000  # lines, waiting
MAX_OWN = 10_000  # mails of ours in the queue
MUTE_SECONDS = 86_400.0  # who was seen to hide TLS connections from the log is not believed for a day


class Kind(StrEnum):
    TLS = "tls"
    """A success that a datagram reported, and the host that it was with."""
    CLEAR = "clear"
    """Mail taken, or refused, over a connection without TLS."""
    OUTSIDE = "outside"
    """An MX host that was passed over, since an enforcing policy does not name it."""


class Signal(NamedTuple):
    """One datagram."""

    pid: int
    at: float
    """Seconds since 1970, when it came."""
    tally: Tally
    """As it is counted: one session."""


class Session(NamedTuple):
    kind: Kind
    at: float
    domain: Domain
    host: str
    address: str
    """Empty for `outside`."""
    signal: Signal | None = None


class _Waiting(NamedTuple):
    since: float
    place: str | None
    entry: Entry


@dataclass(slots=True)
class _Process:
    forgotten_until: float = float("-inf")
    """What it did until then is not all kept."""
    signals: deque[tuple[float, Signal]] = field(default_factory=deque)
    seen: deque[tuple[float, str]] = field(default_factory=deque)
    """Time and address of TLS connections."""
    last_delivery: tuple[str, ...] = ()
    refused: set[tuple[Domain, str]] = field(default_factory=set)


class Joiner:
    def __init__(self, is_ours: Callable[[str], bool] = lambda sender: False) -> None:
        """`is_ours`: whether mail with this envelope sender is a report of ours, which is not reported on (RFC 8460
        section 5.3.1).
        """
        self.place: str | None = None
        """Of the last line that is settled, with all before it."""
        self.unknown = 0
        """Deliveries over connections that may have been in the clear, where the log does not say it for sure."""
        self.unjoined = 0
        """Signals without a line."""
        self.not_sent = 0
        """Signals that Postfix could not send."""
        self._is_ours = is_ours
        self._processes: OrderedDict[int, _Process] = OrderedDict()
        self._pending: deque[_Waiting] = deque()
        self._blind_until: float | None = None
        """What was logged before is not known. None: the next line tells from when on it is."""
        self._forgotten_until = float("-inf")
        """What processes did that were forgotten."""
        self._watched_from = float("inf")
        self._shows: set[str] = set()
        """Tags under which TLS connections were logged."""
        self._muted: dict[str, float] = {}
        """Tags under which one was not, and when."""
        self._own: OrderedDict[str, None] = OrderedDict()

    def add_signal(self, signal: Signal, now: float) -> None:
        """`now`: monotonic seconds, here and below."""
        process = self._process(signal.pid)
        process.signals.append((now, signal))
        if len(process.signals) > MAX_SIGNALS:
            _, lost = process.signals.popleft()
            process.forgotten_until = max(process.forgotten_until, lost.at)
            self.unjoined += 1

    def add_entry(self, entry: Entry, place: str | None, now: float) -> None:
        """A line, in the order of the log. `place` is where it ends there; None: it was settled before, and is read
        again for what it tells of those that come after.
        """
        if self._blind_until is None:
            self._blind_until = min(entry.at, self._watched_from)
        self._notice(entry)
        if place is None:
            self._is_new(entry)
            return
        self._pending.append(_Waiting(now, place, entry))

    def must_settle(self) -> bool:
        """Whether so many lines wait that no more should be read."""
        return len(self._pending) >= MAX_PENDING

    def watch_from(self, at: float) -> None:
        """Whatever is logged after this time (seconds since 1970) will come."""
        self._watched_from = at

    def forget_log(self) -> None:
        """Lines were lost: what was not in the log before the next one is no sign of anything."""
        self._blind_until, self._watched_from = None, float("inf")

    def settle(self, now: float) -> list[Session]:
        """The sessions of lines that have waited long enough."""
        sessions = []
        while self._pending and self._pending[0].since + SETTLE_SECONDS <= now:
            _, place, entry = self._pending.popleft()
            session = self._conclude(entry, entry.event)
            self.place = place
            if session is not None:
                sessions.append(session)
        self._drop_old_signals(now)
        return sessions

    def _notice(self, entry: Entry) -> None:
        """What a line tells of those before and after it."""
        match entry.event:
            case Established(address=address):
                self._see(entry.pid, entry.at, address)
                self._shows.add(entry.tag)
            case Signalled(address=address, is_success=is_success):
                if is_success and entry.tag.endswith("/smtp"):
                    self._judge_tag(entry, address)
                self._see(entry.pid, entry.at, address)
            case Queued(queue_id, sender) if self._is_ours(sender):
                self._own[queue_id] = None
                if len(self._own) > MAX_OWN:
                    self._own.popitem(last=False)

    def _judge_tag(self, entry: Entry, address: str) -> None:
        """A success is logged after its TLS connection; where that line is not there, smtp_tls_loglevel is 0."""
        process = self._process(entry.pid)
        if not self._knows(process, entry.at):
            return
        begin = entry.at - SLACK_SECONDS
        if not any(at >= begin and seen == address for at, seen in process.seen):
            self._muted[entry.tag] = entry.at

    def _conclude(self, entry: Entry, event: Event) -> Session | None:
        if isinstance(event, Signalled):
            signal = self._take_signal(entry, event)
            if signal is None or not event.is_success:
                return None
            return Session(Kind.TLS, signal.at, event.domain, event.host, event.address, signal)
        if isinstance(event, NotSent):
            self.not_sent += 1
        is_new = self._is_new(entry)
        if isinstance(event, Refused) and is_new:
            return Session(Kind.OUTSIDE, entry.at, event.domain, event.host, "")
        if isinstance(event, Delivered) and is_new:
            return self._conclude_delivery(entry, event)
        return None

    def _is_new(self, entry: Entry) -> bool:
        """Whether a line tells of another session than those before it of its process."""
        process, event = self._process(entry.pid), entry.event
        if isinstance(event, Refused):
            # one line for each address of the host; until the next delivery it is the same mail
            host = (event.domain, event.host)
            if host in process.refused or len(process.refused) >= MAX_SEEN:
                return False
            process.refused.add(host)
        elif isinstance(event, Delivered):
            process.refused.clear()
            # recipients of one mail over one connection have the same times up to its setup
            delivery = (event.queue_id, str(event.relay), event.delays.rpartition("/")[0])
            if process.last_delivery == delivery:
                return False
            process.last_delivery = delivery
        return True

    def _conclude_delivery(self, entry: Entry, event: Delivered) -> Session | None:
        if not event.is_in_mail or event.relay is None or event.use > 1 or event.queue_id in self._own:
            return None
        process = self._process(entry.pid)
        began = entry.at - event.connected_seconds
        begin, end = began - SLACK_SECONDS, entry.at + SLACK_SECONDS
        if any(begin <= at <= end and address == event.relay.address for at, address in process.seen):
            return None
        if any(
            begin <= signal.at <= end for _, signal in process.signals if signal.tally.domain == event.domain
        ):
            return None
        if not self._shows_tls(entry) or not self._knows(process, began):
            self.unknown += 1
            return None
        return Session(Kind.CLEAR, entry.at, event.domain, event.relay.name, event.relay.address)

    def _take_signal(self, entry: Entry, event: Signalled) -> Signal | None:
        signals = self._process(entry.pid).signals
        for item in signals:
            signal = item[1]
            fits = signal.tally.domain == event.domain and (signal.tally.failures == 0) == event.is_success
            if fits and abs(signal.at - entry.at) <= 2 * SLACK_SECONDS:
                signals.remove(item)
                return signal
        return None

    def _shows_tls(self, entry: Entry) -> bool:
        muted = self._muted.get(entry.tag)
        return entry.tag in self._shows and (muted is None or entry.at > muted + MUTE_SECONDS)

    def _knows(self, process: _Process, began: float) -> bool:
        """Whether all is at hand that the process has done since then."""
        if self._blind_until is None or began - ROUNDED_SECONDS < self._blind_until:
            return False
        return began - SLACK_SECONDS > max(process.forgotten_until, self._forgotten_until)

    def _see(self, pid: int, at: float, address: str) -> None:
        process = self._process(pid)
        process.seen.append((at, address))
        if len(process.seen) > MAX_SEEN:
            process.forgotten_until = max(process.forgotten_until, process.seen.popleft()[0])

    def _process(self, pid: int) -> _Process:
        process = self._processes.get(pid)
        if process is not None:
            self._processes.move_to_end(pid)
            return process
        process = self._processes[pid] = _Process()
        if len(self._processes) > MAX_PROCESSES:
            _, old = self._processes.popitem(last=False)
            self.unjoined += len(old.signals)
            times = [at for at, _ in old.seen] + [signal.at for _, signal in old.signals]
            self._forgotten_until = max(self._forgotten_until, old.forgotten_until, *times)
        return process

    def _drop_old_signals(self, now: float) -> None:
        for process in self._processes.values():
            while process.signals and process.signals[0][0] + SIGNAL_SECONDS <= now:
                process.signals.popleft()
                self.unjoined += 1
