"""What this process tells the supervisor of itself: its numbers, and how it is.

The supervisor asks over a socket that it gave us when it started us: no port and no path, so nobody else can. A thread
answers, not the loop: numbers are wanted most while the loop is busy. Who has numbers registers a function that
makes families of them; it is called in that thread and only reads.

    metrics.tell(lambda: [catalogue.DNS_DOMAINS.one(len(zone))])
    metrics.tell_health(lambda: Health(ready=keeper.has_read))
"""

import asyncio
import contextlib
import logging
import os
import platform
import queue
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import msgspec

import mailward
from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.core.metrics.health import Health
from mailward.net import clock

SOCKET_VARIABLE = "MAILWARD_METRICS_SOCKET"
"""Number of the file that the supervisor asks at."""
NUMBERS, HEALTH = b"m", b"h"
"""What it asks for."""
REPLY = struct.Struct("!cI")
"""Before each reply: to what, and its length."""
BEAT_SECONDS = 1.0
EXAMINE_SECONDS = 1.0
STUCK_SECONDS = 10.0
"""A loop that did not turn for so long does not live."""

Collect = Callable[[], Iterable[Family]]
Examine = Callable[[], Health]

_log = logging.getLogger("mailward.metrics")


class Process:
    """One for each process: `tell` and the others below are of it."""

    def __init__(self) -> None:
        self.name = ""
        self._collectors: list[Collect] = []
        self._examine: Examine = Health
        self._examining: Future[Health] | None = None
        """What was begun and has not ended."""
        self._started_at = clock.now().timestamp()
        self._beat_at: float | None = None
        self._lag = catalogue.EVENT_LOOP_LAG.make()
        self.messages: Counter[str] = Counter()
        """Warnings and worse, by level."""

    def tell(self, collect: Collect) -> None:
        self._collectors.append(collect)

    def tell_health(self, examine: Examine) -> None:
        self._examine = examine

    async def beat(self) -> None:
        """Until cancelled: how late the loop is."""
        loop = asyncio.get_running_loop()
        while True:
            self._beat_at = clock.monotonic()
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))

    def families(self) -> Iterator[Family]:
        yield from self._own()
        for collect in self._collectors:
            try:
                yield from list(collect())
            except Exception:  # noqa: BLE001 - the top of the thread: the other numbers are still wanted
                _log.exception("numbers-missing")

    def health(self) -> Health:
        stuck_for = 0.0 if self._beat_at is None else clock.monotonic() - self._beat_at
        if stuck_for > STUCK_SECONDS:
            return Health(
                live=False, ready=False, reasons=(f"its loop has not turned for {stuck_for:.0f} s",)
            )
        if self._examining is None or self._examining.done():
            # in a thread of its own: a database that says nothing must not pass for a process that does not
            self._examining = Future()
            work = (self._examining, self._examine)
            threading.Thread(target=_examine, args=work, name="health", daemon=True).start()
        try:
            found = self._examining.result(EXAMINE_SECONDS)
        except TimeoutError:
            return Health(
                ready=False, reasons=("what it needs, such as the database, does not answer in time",)
            )
        self._examining = None
        return found

    def _own(self) -> Iterator[Family]:
        key = (self.name,)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield catalogue.PROCESS_CPU.of({key: usage.ru_utime + usage.ru_stime})
        yield catalogue.PROCESS_START.of({key: self._started_at})
        yield catalogue.EVENT_LOOP_LAG.of({key: self._lag})
        yield catalogue.LOG_MESSAGES.of(
            {(self.name, level): self.messages[level] for level in ("warning", "error", "critical")}
        )
        with contextlib.suppress(OSError):  # no /proc
            pages = int(_read("/proc/self/statm").split()[1])
            yield catalogue.PROCESS_MEMORY.of({key: pages * resource.getpagesize()})
            yield catalogue.PROCESS_FILES.of({key: len(os.listdir("/proc/self/fd"))})  # noqa: PTH208 - the cheapest
        yield catalogue.PROCESS_MAX_FILES.of({key: resource.getrlimit(resource.RLIMIT_NOFILE)[0]})


PROCESS = Process()
tell, tell_health, beat = PROCESS.tell, PROCESS.tell_health, PROCESS.beat


def start(name: str) -> bool:
    """Answer the supervisor from now on; False where it does not ask."""
    number = os.environ.pop(SOCKET_VARIABLE, "")
    if not number:
        return False
    PROCESS.name = name
    logging.getLogger().addHandler(_Counting(PROCESS.messages))
    line = socket.socket(fileno=int(number))
    threading.Thread(target=_answer, args=(line,), name="metrics", daemon=True).start()
    return True


def is_asked() -> bool:
    """Whether the supervisor asks this process for numbers: what costs something is done only then."""
    return bool(PROCESS.name)


def build_info() -> Family:
    return catalogue.BUILD_INFO.of({(mailward.__version__, platform.python_version()): 1})


def _answer(line: socket.socket) -> None:
    """Each kind has a thread: to try the database may take its time, and the numbers do not wait for it."""
    line.set_inheritable(False)
    sending = threading.Lock()
    asked: dict[bytes, queue.SimpleQueue[None]] = {}
    answers: dict[bytes, Callable[[], object]] = {
        NUMBERS: lambda: list(PROCESS.families()),
        HEALTH: PROCESS.health,
    }
    for kind, answer in answers.items():
        asked[kind] = queue.SimpleQueue()
        work = (line, sending, kind, asked[kind], answer)
        threading.Thread(target=_answer_kind, args=work, name=f"metrics-{kind.decode()}", daemon=True).start()
    with contextlib.suppress(OSError):  # the supervisor is gone, and we will be soon
        while kind := line.recv(1):
            asked[kind].put(None)


def _answer_kind(
    line: socket.socket,
    sending: threading.Lock,
    kind: bytes,
    asked: "queue.SimpleQueue[None]",
    answer: Callable[[], object],
) -> None:
    with contextlib.suppress(OSError):
        while True:
            asked.get()
            reply = msgspec.msgpack.encode(answer())
            with sending:
                line.sendall(REPLY.pack(kind, len(reply)) + reply)


class _Counting(logging.Handler):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self._counts = counts

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning" if record.levelno < logging.ERROR else "error"
        self._counts[level if record.levelno < logging.CRITICAL else "critical"] += 1


def _examine(found: "Future[Health]", examine: Examine) -> None:
    try:
        found.set_result(examine())
    except Exception:  # noqa: BLE001 - the top of a thread
        _log.exception("health-unknown")
        found.set_result(Health(ready=False, reasons=("it cannot tell how it is; see the log",)))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - as cheap as it gets
        return file.read()
