"""The reading half of `mailward report import`: processes of its own, and the way from them.

Pieces go over as soon as they are read, and the other side takes all that have come: neither waits for the other
as long as there is work.
"""

import gc
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mailward.net.files import STDIN, Part, WalkLimits, walk

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
_PIECE = 125
_PIECE_BYTES = 1024 * 1024
_MOST_READERS = 2
"""One alone is slower than the storing process, two are faster. A file is read by one of them, an mbox too."""
_NICENESS = 5
"""Where three share two cores, the storing process comes first: nobody else can do its work."""
_SLOTS = 32
"""Pieces that may lie read and not yet stored."""
_NUMBER = struct.Struct("=I")
_FULL = struct.Struct("=IQ")


class Piece(NamedTuple):
    """Some of what was read."""

    incoming: "list[Incoming]"
    """Each with its `name`, that of the file."""
    unreachable: list[tuple[str, str]]
    """Names and reasons of files that could not even be opened."""


class Readers:
    """The reading processes, as the storing one sees them."""

    def __init__(self, processes: Sequence[BaseProcess], slots: Sequence["_Slots"]) -> None:
        self._processes = processes
        self._by_pipe: dict[object, _Slots] = {each.full: each for each in slots}

    @property
    def exit_codes(self) -> set[int | None]:
        return {process.exitcode for process in self._processes}

    def batches(self) -> Iterator[Piece]:
        """All that was read since the last one, at most `LARGEST_BATCH` (and a piece)."""
        from mailward.store.services.incoming import Incoming

        decode = msgspec.msgpack.Decoder(tuple[list[Incoming], list[tuple[str, str]]]).decode
        while True:
            batch, size = Piece([], []), 0
            while len(batch.incoming) < LARGEST_BATCH and size < _BATCH_BYTES:
                patience = _PATIENCE_SECONDS if len(batch.incoming) < _WORTH_A_COMMIT else 0
                encoded = self._take(patience if size else None)
                if encoded is None:
                    break
                incoming, unreachable = decode(encoded)
                batch.incoming.extend(incoming)
                batch.unreachable.extend(unreachable)
                size += len(encoded)
            if not size:
                return
            yield batch

    def _take(self, seconds: float | None) -> bytes | None:
        """The next piece. None: there is none so soon, or, without a time, no more."""
        while self._by_pipe:
            ready = wait([each.full for each in self._by_pipe.values()], seconds)
            if not ready:
                return None
            slots = self._by_pipe[ready[0]]
            try:
                return slots.take()
            except EOFError:  # this one has read its part
                del self._by_pipe[slots.full]
        return None


class _Slots:
    """Room in memory for some pieces, between the two processes.

    A pipe holds 64 KiB, less than a piece: each side would wait for the other to copy. Here only the number of a
    slot and a length go through pipes, and a slot that was emptied goes back.
    """

    def __init__(self) -> None:
        self._memory = [os.memfd_create(f"import-{number}") for number in range(_SLOTS)]
        self.full, self._full_in = Pipe(duplex=False)
        self._empty_out, self._empty_in = Pipe(duplex=False)
        self._empty = list(range(_SLOTS))

    def fill(self, piece: bytes) -> None:
        """For the reading process. Raises BrokenPipeError once the other one is gone."""
        while not self._empty or self._empty_out.poll():
            self._empty.append(_NUMBER.unpack(self._empty_out.recv_bytes())[0])
        slot = self._empty.pop()
        os.ftruncate(self._memory[slot], 0)
        view = memoryview(piece)
        while view:
            view = view[os.pwrite(self._memory[slot], view, len(piece) - len(view)) :]
        self._full_in.send_bytes(_FULL.pack(slot, len(piece)))

    def take(self) -> bytes:
        """For the storing process: the next piece. Raises EOFError after the last."""
        slot, size = _FULL.unpack(self.full.recv_bytes())
        with open(self._memory[slot], "rb", buffering=0, closefd=False) as memory:
            memory.seek(0)
            piece = memory.read(size)
        with suppress(BrokenPipeError):  # it has read everything and gone
            self._empty_in.send_bytes(_NUMBER.pack(slot))
        return piece

    def keep_reading_end(self) -> None:
        self.full.close()
        self._empty_in.close()

    def keep_storing_end(self) -> None:
        self._full_in.close()
        self._empty_out.close()

    def close(self) -> None:
        self.full.close()
        self._empty_in.close()
        for handle in self._memory:
            os.close(handle)


@contextmanager
def reading(paths: Sequence[str], address: "ReportAddress", settings: "Settings") -> Iterator[Readers]:
    """Start reading; at the end the processes are gone. To be called before there is a database connection."""
    number = min(_MOST_READERS, len(os.sched_getaffinity(0)))
    slots = [_Slots() for _ in range(number)]
    standard_input = _keep_standard_input() if STDIN in paths else None
    processes = []
    for at in range(number):
        arguments = (paths, address, settings, slots, Part(at, number), standard_input)
        processes.append(get_context("fork").Process(target=_read, args=arguments, daemon=True))
        processes[-1].start()
    for each in slots:
        each.keep_storing_end()
    if standard_input is not None:
        os.close(standard_input)
    try:
        yield Readers(processes, slots)
    except BaseException:
        for process in processes:  # it may wait for input that never comes
            process.terminate()
        raise
    finally:
        for each in slots:
            each.close()  # which ends a process that still reads
        for process in processes:
            process.join()


def _keep_standard_input() -> int | None:
    """multiprocessing gives its children an empty one."""
    # closed, or none at all: then there is nothing to read
    with suppress(OSError, ValueError, AttributeError):
        return os.dup(sys.stdin.fileno())
    return None


def _read(
    paths: Sequence[str],
    address: "ReportAddress",
    settings: "Settings",
    all_slots: Sequence[_Slots],
    part: Part,
    standard_input: int | None,
) -> None:
    """A reading process."""
    if standard_input is not None:
        os.dup2(standard_input, sys.stdin.fileno())
    slots = all_slots[part.number]
    for each in all_slots:  # a pipe ends when all have closed it
        if each is not slots:
            each.keep_storing_end()
        each.keep_reading_end()
    if part.of > 1:
        os.nice(_NICENESS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    encode = msgspec.msgpack.Encoder().encode
    with suppress(BrokenPipeError, EOFError, KeyboardInterrupt):
        for piece in _pieces(paths, address, settings, part):
            slots.fill(encode(piece))


def _pieces(
    paths: Sequence[str], address: "ReportAddress", settings: "Settings", part: Part
) -> Iterator[Piece]:
    from mailward.ingest.accept import Arrival, judge_by_door, limits_of, read_arrival
    from mailward.net import clock
    from mailward.store.models import Door

    limits, now = limits_of(settings), clock.now()
    piece, size = Piece([], []), 0
    for item in walk(paths, WalkLimits(max_item_bytes=2 * limits.max_inflated_bytes), part):
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
