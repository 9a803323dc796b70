"""The reading half of `mailward report import`: a process of its own, and the pipe from it.

Pieces go over as soon as they are read, and the other side takes all that have come: neither waits for the other
as long as there is work.
"""

import fcntl
import gc
import multiprocessing
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from mailward.config import Settings
    from mailward.ingest.addresses import ReportAddress
    from mailward.store.services.incoming import Incoming

GC_THRESHOLDS = (100_000, 20, 20)
"""A batch is many small values, none of them a cycle."""
LARGEST_BATCH = 4_000
_WORTH_A_COMMIT = 1_000
_PATIENCE_SECONDS = 0.2
"""How long a batch that is not worth a commit yet waits for more."""
_BATCH_BYTES = 32 * 1024 * 1024
_WAITING_BYTES = 64 * 1024 * 1024
"""What may lie read and not yet stored."""
_PIECE = 125
_PIECE_BYTES = 1024 * 1024
_PIPE_BYTES = 1024 * 1024  # what the kernel grants to everybody


class Piece(NamedTuple):
    """Some of what was read."""

    incoming: "list[Incoming]"
    """Each with its `name`, that of the file."""
    unreachable: list[tuple[str, str]]
    """Names and reasons of files that could not even be opened."""


class Reader:
    """The reading process, as the storing one sees it."""

    def __init__(self, process: multiprocessing.process.BaseProcess, receiver: Connection) -> None:
        self._process = process
        self._receiver = receiver
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = threading.Condition()

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def batches(self) -> Iterator[Piece]:
        """All that was read since the last one, at most `LARGEST_BATCH` (and a piece)."""
        from mailward.store.services.incoming import Incoming

        decode = msgspec.msgpack.Decoder(tuple[list[Incoming], list[tuple[str, str]]]).decode
        while True:
            batch, size = Piece([], []), 0
            while len(batch.incoming) < LARGEST_BATCH and size < _BATCH_BYTES:
                encoded = self._next(
                    _PATIENCE_SECONDS if size else None, len(batch.incoming) < _WORTH_A_COMMIT
                )
                if encoded is None:
                    break
                incoming, unreachable = decode(encoded)
                batch.incoming.extend(incoming)
                batch.unreachable.extend(unreachable)
                size += len(encoded)
            if not size:
                return
            yield batch

    def _next(self, seconds: float | None, wait: bool) -> bytes | None:
        """The next piece; None: there is none, or none so soon."""
        with self._changed:
            if wait or seconds is None:
                self._changed.wait_for(lambda: self._pieces or self._ended, seconds)
            if not self._pieces:
                return None
            piece = self._pieces.popleft()
            self._bytes -= len(piece)
            self._changed.notify()
            return piece

    def receive(self) -> None:
        """Take pieces off the pipe while the other thread stores. Runs until the reading process has ended."""
        with suppress(EOFError, OSError):
            while True:
                piece = self._receiver.recv_bytes()
                with self._changed:
                    self._pieces.append(piece)
                    self._bytes += len(piece)
                    self._changed.notify()
                    self._changed.wait_for(lambda: self._bytes < _WAITING_BYTES)
        with self._changed:
            self._ended = True
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._bytes = -_WAITING_BYTES  # nothing waits any more
            self._changed.notify()
        if self._process.is_alive():
            self._process.terminate()


@contextmanager
def reading(paths: Sequence[str], address: "ReportAddress", settings: "Settings") -> Iterator[Reader]:
    """Start reading; at the end the process is gone. Fork before there are threads or database connections."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with suppress(OSError):
        fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    process = context.Process(target=_read, args=(paths, address, settings, receiver, sender), daemon=True)
    process.start()
    sender.close()
    reader = Reader(process, receiver)
    thread = threading.Thread(target=reader.receive, name="import-receiver", daemon=True)
    thread.start()
    try:
        yield reader
    except BaseException:
        reader.stop()
        raise
    finally:
        thread.join()
        process.join()
        receiver.close()


def _read(
    paths: Sequence[str],
    address: "ReportAddress",
    settings: "Settings",
    receiver: Connection,
    sender: Connection,
) -> None:
    """The reading process."""
    receiver.close()  # so that writing fails once the other end is gone
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    encode = msgspec.msgpack.Encoder().encode
    with suppress(BrokenPipeError, KeyboardInterrupt):
        for piece in _pieces(paths, address, settings):
            sender.send_bytes(encode(piece))


def _pieces(paths: Sequence[str], address: "ReportAddress", settings: "Settings") -> Iterator[Piece]:
    from mailward.ingest.accept import Arrival, judge_by_door, limits_of, read_arrival
    from mailward.net import clock
    from mailward.net.files import WalkLimits, walk
    from mailward.store.models import Door

    limits, now = limits_of(settings), clock.now()
    piece, size = Piece([], []), 0
    for item in walk(paths, WalkLimits(max_item_bytes=2 * limits.max_inflated_bytes)):
        name = item.name.encode("utf-8", "replace").decode()  # a file name can be any bytes
        if item.content is None:
            piece.unreachable.append((name, item.error or "it could not be opened"))
        else:
            arrival = Arrival(Door.IMPORT, address, item.content, now, name)
            piece.incoming.append(read_arrival(arrival, limits).judged(judge_by_door(arrival)))
            size += len(item.content)
        if len(piece.incoming) + len(piece.unreachable) >= _PIECE or size >= _PIECE_BYTES:
            yield piece
            piece, size = Piece([], []), 0
    if piece.incoming or piece.unreachable:
        yield piece
