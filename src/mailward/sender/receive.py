"""Datagrams off a unix socket as fast as they come: one system call for all that wait, in a thread that does only that.

The kernel keeps few of them (net.unix.max_dgram_qlen, 10 by default), and who sends does not wait: what comes while the
queue is full is lost. So nothing is decoded here. Equal datagrams are held once with their number, and given away by
`take`. recvmmsg(2) by ctypes takes what waits without Python's lock, which is then asked for once for all of them.
"""

import ctypes
import errno
import logging
import mmap
import os
import socket
import struct
import threading
from typing import NamedTuple

from mailward.core.postfix.datagram import MAX_DATAGRAM_BYTES
from mailward.net import clock

logger = logging.getLogger("mailward.sender")

BATCH = 256
_CONTROL_BYTES = 32  # CMSG_SPACE(sizeof(struct ucred))
_SLOT_BYTES = 256 * 1024  # of address space; a page is real when something was written there
_ROOM = _SLOT_BYTES - _CONTROL_BYTES
_PID = struct.Struct("i")
_PID_AT = 16  # in the control message: after cmsghdr comes ucred, its pid first
_WAIT_FOR_ONE = 0x10000  # MSG_WAITFORONE
_SO_PASSCRED = 16
WAIT_SECONDS = 0.2  # the longest until a stop is seen
MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_ORDERED = 200_000
_HEADER_BYTES = 64  # struct mmsghdr, and so below
_LENGTH_WORD, _WORDS = 14, 16

assert _ROOM > MAX_DATAGRAM_BYTES  # noqa: S101 - what is cut off must be too large anyway


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MsgHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MultiHeader(ctypes.Structure):
    _fields_ = (("header", _MsgHeader), ("length", ctypes.c_uint32))


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
    """How often the queue was seen full: then some were probably lost."""


class Receiver:
    """Use `start`, `take` from one other thread, `stop`."""

    def __init__(self, source: socket.socket, queue_length: int, *, in_order: bool = False) -> None:
        """`source`: a datagram socket. `queue_length`: of the kernel's queue. `in_order`: with process and time."""
        self._source = source
        self._queue_length = queue_length
        self._in_order = in_order
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)
        self._held: dict[bytes, int] = {}
        self._ordered: list[Ordered] = []
        self._held_bytes = self._received = self._dropped = self._full = 0
        self.failure: OSError | None = None
        """What ended it, if anything did."""
        self._make_room()
        source.setblocking(True)
        source.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        micro = int(WAIT_SECONDS * 1_000_000)
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, micro))

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def take(self) -> Taken:
        """All that came since the last call."""
        with self._lock:
            taken = Taken(self._held, self._ordered, self._received, self._dropped, self._full)
            self._held, self._ordered = {}, []
            self._held_bytes = self._received = self._dropped = self._full = 0
        return taken

    def stop(self) -> None:
        """Returns when the queue was seen empty, and all that was in it can be taken."""
        self._stopping.set()
        self._thread.join()

    def _make_room(self) -> None:
        self._room = mmap.mmap(-1, BATCH * _SLOT_BYTES)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._room))
        self._vectors = (_IoVec * BATCH)()
        self._headers = (_MultiHeader * BATCH)()
        for number in range(BATCH):
            slot = start + number * _SLOT_BYTES
            # what is with the message stands right before it: one copy takes both
            self._vectors[number] = _IoVec(slot + _CONTROL_BYTES, _ROOM)
            vector = ctypes.addressof(self._vectors) + number * ctypes.sizeof(_IoVec)
            self._headers[number].header = _MsgHeader(None, 0, vector, 1, slot, _CONTROL_BYTES, 0)
        self._fresh = bytes(self._headers)
        self._lengths = memoryview(self._headers).cast("B").cast("I")

    def _run(self) -> None:
        receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        number = self._source.fileno()
        while True:
            count = receive(number, self._headers, BATCH, _WAIT_FOR_ONE, None)
            if count > 0:
                self._hold(count)
                continue
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.EINTR):
                if self._stopping.is_set() and error == errno.EAGAIN:
                    return
                continue
            self.failure = OSError(error, os.strerror(error))
            logger.error("receive-failed", extra={"reason": str(self.failure)})
            return

    def _hold(self, count: int) -> None:
        """The lock is held for some microseconds, so that `take` gets whole batches."""
        room, held = self._room, self._held
        lengths = self._lengths[_LENGTH_WORD : count * _WORDS : _WORDS].tolist()
        with self._lock:
            held = self._held
            at = 0
            for length in lengths:
                begin = at + _CONTROL_BYTES
                raw = room[begin : begin + length]
                if raw in held:
                    held[raw] += 1
                elif self._held_bytes + length > MAX_HELD_BYTES:
                    self._dropped += 1
                else:
                    held[raw] = 1
                    self._held_bytes += length + 100  # of Python's own
                at += _SLOT_BYTES
            self._received += count
            self._full += count > self._queue_length
            if self._in_order:
                self._hold_in_order(lengths)
        ctypes.memmove(self._headers, self._fresh, count * _HEADER_BYTES)  # the kernel has written into them

    def _hold_in_order(self, lengths: list[int]) -> None:
        room, now = self._room, clock.now().timestamp()
        for number, length in enumerate(lengths[: MAX_ORDERED - len(self._ordered)]):
            at = number * _SLOT_BYTES
            (pid,) = _PID.unpack_from(room, at + _PID_AT)
            begin = at + _CONTROL_BYTES
            self._ordered.append(Ordered(pid, now, room[begin : begin + length]))
