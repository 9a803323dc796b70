"""The blind spots beside the collector: a thread of its process, with an event loop of its own.

The collector tells it of each datagram and takes its tallies before each commit. A crash is said, and it is
started again from the place in the log that was committed last; the collector counts on.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence

from mailward.config import Settings
from mailward.core.tlsrpt.counting import Tally
from mailward.core.tlsrpt.joining import Signal
from mailward.net.smtpprobe import AuthoritiesUnreadable
from mailward.sender.blindspots import BlindSpots
from mailward.sender.cache import CacheError
from mailward.sender.counts import Counts, CountsError
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.signalnumbers import SignalNumbers
from mailward.sender.sqlite import SqliteCache
from mailward.sender.verifying import Verifier

logger = logging.getLogger("mailward.sender")

RESTART_SECONDS = 5.0
_STOP_SECONDS = 5.0


class LogObserver:
    def __init__(self, settings: Settings, numbers: SignalNumbers | None = None) -> None:
        """`numbers`: what metrics show."""
        self._settings, self._numbers = settings, numbers
        self._spots: BlindSpots | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def observe(self, signals: Sequence[Signal]) -> None:
        """What was counted just now. Called by the collector's thread, as are those below."""
        with self._lock:
            if self._loop is not None and self._spots is not None:
                self._loop.call_soon_threadsafe(self._spots.add, signals)

    def take(self) -> tuple[list[Tally], str | None]:
        """Tallies to commit now, and the place in the log that holds with them; None: no news."""
        spots = self._spots
        return spots.take() if spots is not None else ([], None)

    def stop(self) -> None:
        with self._lock:
            if self._loop is not None and self._running is not None:
                self._loop.call_soon_threadsafe(self._running.cancel)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.current_task()
        try:
            while True:
                await self._follow()
                await asyncio.sleep(RESTART_SECONDS)
        except asyncio.CancelledError:
            return
        finally:
            with self._lock:
                self._loop = self._spots = None

    async def _follow(self) -> None:
        settings = self._settings
        try:
            place = _committed_place(settings)
            verifier = Verifier(settings) if settings.tlsrpt.verify_mx else None
            cache = SqliteCache(settings.sender_cache_path, settings.sender.max_domains)
        except (CacheError, CountsError, AuthoritiesUnreadable) as error:
            logger.error("log-not-followed", extra={"reason": str(error)})
            return
        spots = BlindSpots(settings, cache, make_sender_resolver(settings), place, verifier, self._numbers)
        self._spots = spots
        try:
            await spots.step()  # from here on: what is logged later is read
            logger.info("log-followed", extra={"file": settings.tlsrpt.log, "place": place or "-"})
            await spots.run()
        except Exception:  # a mistake of ours: said, and it goes on
            logger.exception("log-observer-crashed")
        finally:
            with self._lock:
                self._spots = None
            await cache.close()


def _committed_place(settings: Settings) -> str | None:
    """Raises CountsError."""
    counts = Counts(settings.tlsrpt_counts_path)
    try:
        return counts.place()
    finally:
        counts.close()
