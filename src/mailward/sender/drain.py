"""Datagrams out of the `ring`, into memory of the process that counts them: by a thread, so that the ring is not full
when a commit takes long. Equal datagrams are held once with their number, and given away by `take`.
"""

import logging
import struct
import threading
import time
from typing import NamedTuple

from mailward.net import clock
from mailward.sender.receive import PROBE, Intake
from mailward.sender.ring import (
    CONTROL_BYTES,
    DROPPED,
    DROPPED_TOLD,
    FULL,
    FULL_TOLD,
    HEAD,
    SLOT_BYTES,
    TAIL,
    Ring,
)

logger = logging.getLogger("mailward.sender")

BATCH = 256
MANY = 512  # in the ring: then it is looked at again without a nap
NAP_SECONDS = 0.01  # while something comes: who receives need not wake us for each
WAIT_SECONDS = 0.2
END_SECONDS = 2.0  # what the receiver's end is waited for
MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_ORDERED = 200_000
_PID = struct.Struct("i")
_PID_AT = 16  # in the control message: after cmsghdr comes ucred, its pid first


class Ordered(NamedTuple):
    """One datagram, in the order of arrival."""

    pid: int
    """Of the process that sent it."""
    at: float
    """Seconds since 1970."""
    raw: bytes


class Taken(NamedTuple):
    counts: dict[bytes, int]
    """Each datagram, and how often it came."""
    ordered: list[Ordered]
    """One by one, where that was asked for."""
    received: int
    dropped: int
    """For want of memory."""
    full: int
    """How often the kernel's queue was seen full: then some were probably lost."""


class Drain:
    """Use `start`, `take` from one other thread, `stop`."""

    def __init__(self, ring: Ring, intake: Intake, *, in_order: bool = False) -> None:
        """`intake`: for what the receiver leaves when it ends. `in_order`: with process and time."""
        self._ring, self._intake = ring, intake
        self._in_order = in_order
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._held: dict[bytes, int] = {}
        self._ordered: list[Ordered] = []
        self._held_bytes = self._received = self._dropped = 0
        self._stamp = 0.0

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def take(self) -> Taken:
        """All that came since the last call."""
        words = self._ring.words
        lost, full = words[DROPPED] - words[DROPPED_TOLD], words[FULL] - words[FULL_TOLD]
        with self._lock:
            received = self._received + lost - self._held.pop(PROBE, 0)
            dropped = self._dropped + lost
            taken = Taken(self._held, self._ordered, received, dropped, full)
            self._held, self._ordered = {}, []
            self._held_bytes = self._received = self._dropped = 0
        words[DROPPED_TOLD] += lost
        words[FULL_TOLD] += full
        return taken

    def stop(self) -> None:
        """Returns when the receiver has ended, the queue was seen empty, and all that was in it can be taken."""
        self._stopping.set()
        self._ring.wake()
        self._thread.join()

    def _run(self) -> None:
        self._ring.free()  # what one copied who was killed
        while not self._stopping.is_set():
            waiting = self._move()
            if not waiting:
                self._ring.sleep(WAIT_SECONDS)
            elif waiting < MANY:
                time.sleep(NAP_SECONDS)
        self._move_rest()

    def _move_rest(self) -> None:
        ends = clock.monotonic() + END_SECONDS
        while not self._ring.try_to_receive():
            self._move()
            if clock.monotonic() > ends:  # we are to end, and it is not
                return
            time.sleep(NAP_SECONDS)
        while self._intake.take_rest() or self._move():
            self._move()

    def _move(self) -> int:
        """All that is in the ring by now; how many were."""
        words, slots = self._ring.words, self._ring.slots
        tail = words[TAIL]
        waiting: int = words[HEAD] - tail
        ends = tail + waiting
        while tail < ends:
            place = tail % slots
            count = min(ends - tail, slots - place, BATCH)
            self._hold(place, count)
            tail += count
            words[TAIL] = tail
            self._ring.free()
        return waiting

    def _hold(self, place: int, count: int) -> None:
        """The lock is held for some microseconds, so that `take` gets whole batches."""
        ring = self._ring
        room = ring.room
        lengths = ring.lengths(place, count)
        at = ring.slots_at + place * SLOT_BYTES + CONTROL_BYTES
        raws = []
        for length in lengths:
            raws.append(room[at : at + length])
            at += SLOT_BYTES
        with self._lock:
            held = self._held
            for raw in raws:
                if raw in held:
                    held[raw] += 1
                elif self._held_bytes + len(raw) > MAX_HELD_BYTES:
                    self._dropped += 1
                else:
                    held[raw] = 1
                    self._held_bytes += len(raw) + 100  # of Python's own
            self._received += count
            if self._in_order:
                self._hold_in_order(place, raws)

    def _hold_in_order(self, place: int, raws: list[bytes]) -> None:
        ring, free = self._ring, MAX_ORDERED - len(self._ordered)
        for number, raw in enumerate(raws, place):
            stamp = ring.stamps[number]
            if stamp:
                self._stamp, ring.stamps[number] = stamp, 0.0
            if number - place < free and raw != PROBE:
                (pid,) = _PID.unpack_from(ring.room, ring.slots_at + number * SLOT_BYTES + _PID_AT)
                self._ordered.append(Ordered(pid, self._stamp, raw))
