"""The one writer of the doors: commits many arrivals at once, and lets each sender be answered only then.

A commit that survives a power cut costs a flush to the disk, whatever it holds. So while one commit runs,
arrivals gather, and the next takes all of them: nobody waits for a timer, and a flood costs few flushes.
"""

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from django.db import DatabaseError, connection

from mailward.core.metrics import catalogue
from mailward.ingest.errors import IngestError, StoreBusy
from mailward.net import clock
from mailward.store.services.incoming import Incoming, Stored, size_of
from mailward.store.services.reports import store_batch
from mailward.store.services.writable import takes_writes

_log = logging.getLogger("mailward.ingest")

MAX_BATCH = 500
MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_WAITING = 2_000
MAX_WAITING_BYTES = 256 * 1024 * 1024
LOOK_AGAIN_SECONDS = 15.0


class _Waiting(NamedTuple):
    incoming: Incoming
    future: "asyncio.Future[Stored]"


class Writer:
    """Start it in the loop that submits; close it there."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._waiting_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._closed = False
        self.database_ok = True
        """Whether it took the last batch, or would take another by now."""
        self.commits: Counter[str] = Counter()
        """Batches, by outcome: `done`, `failed`."""
        self.seconds = catalogue.COMMIT_SECONDS.make()
        self._thread.start()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many arrivals, and their bytes."""
        return self._waiting, self._waiting_bytes

    async def submit(self, incoming: Incoming) -> Stored:
        """Returns once it is committed. Raises StoreBusy where it could not be, or too much waits already."""
        size = size_of(incoming)
        if self._closed or self._waiting >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise StoreBusy("too much is waiting to be written")
        future: asyncio.Future[Stored] = self._loop.create_future()
        self._waiting += 1
        self._waiting_bytes += size
        future.add_done_callback(lambda _: self._forget(size))
        self._queue.put(_Waiting(incoming, future))
        return await future

    async def close(self) -> None:
        """Write what was submitted, then stop."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _forget(self, size: int) -> None:
        self._waiting -= 1
        self._waiting_bytes -= size

    def _run(self) -> None:
        try:
            while batch := self._gather():
                self._write(batch)
        finally:
            connection.close()

    def _gather(self) -> list[_Waiting]:
        """Whatever waits, within bounds; blocks for the first. Empty: the end."""
        first = self._next()
        if first is None:
            return []
        batch, size = [first], size_of(first.incoming)
        while len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                self._queue.put(None)  # for the next round
                break
            batch.append(waiting)
            size += size_of(waiting.incoming)
        return batch

    def _next(self) -> _Waiting | None:
        """Blocks. A database that failed is tried meanwhile: no report may come that tells that it is back."""
        while not self.database_ok:
            try:
                return self._queue.get(timeout=LOOK_AGAIN_SECONDS)
            except queue.Empty:
                self.database_ok = takes_writes()
        return self._queue.get()

    def _write(self, batch: Sequence[_Waiting]) -> None:
        outcomes: Sequence[Stored | IngestError]
        started = clock.monotonic()
        outcome = "failed"
        try:
            stored = store_batch([waiting.incoming for waiting in batch])
            outcomes = [StoreBusy(one.refused) if one.refused else one for one in stored]
            outcome = "done"
        except DatabaseError as error:
            # locked, full, read-only, damaged: nothing was stored, and the senders come again
            _log.warning("store-busy", extra={"arrivals": len(batch), "reason": str(error)})
            outcomes = [StoreBusy(str(error))] * len(batch)
            connection.close()
        except Exception:  # noqa: BLE001 - the thread's top loop: it must outlive any mistake of ours
            _log.exception("writer-failed", extra={"arrivals": len(batch)})
            outcomes = [StoreBusy("internal error")] * len(batch)
            connection.close()
        self.commits[outcome] += 1
        self.database_ok = outcome == "done"
        self.seconds.observe(clock.monotonic() - started)
        try:
            self._loop.call_soon_threadsafe(_resolve, batch, outcomes)
        except RuntimeError:  # the loop is gone; what was committed stays so, and nobody was answered
            _log.warning("nobody-waits", extra={"arrivals": len(batch)})


def _resolve(batch: Sequence[_Waiting], outcomes: Sequence[Stored | IngestError]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.future.done():  # its connection was lost meanwhile
            continue
        if isinstance(outcome, IngestError):
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)
