"""Datagrams off a unix socket as fast as they come: a process that does only that, and leaves them in a `ring`.

The kernel keeps few of them (net.unix.max_dgram_qlen, 10 by default), and who sends does not wait: what comes while the
queue is full is lost. So nothing is looked at here, and nobody else has this process's Python lock.
"""

import ctypes
import errno
import logging
import os
import socket
import struct
import time

from mailward.net import clock
from mailward.sender.ring import (
    ASLEEP,
    DROPPED,
    FREED,
    FULL,
    HEAD,
    HEADER_BYTES,
    HEAVY,
    LIGHT_BYTES,
    MAX_HEAVY_BYTES,
    RELEASED,
    Ring,
)

logger = logging.getLogger("mailward.sender")

BATCH = 256
PROBE = b"mailward asks how long the queue is"
"""Counted nowhere."""
_WAIT_FOR_ONE, _DO_NOT_WAIT = 0x10000, 0x40  # MSG_WAITFORONE, MSG_DONTWAIT
WAIT_SECONDS = 0.2  # the longest until a stop is seen
PATIENCE_SECONDS = 0.1  # with a full ring: who counts may be about to look
_PAUSE_SECONDS = 0.001
LONG_QUEUE = 512  # no loss at 40,000 a second; it lets several come before one looks, which costs much less
MAX_SHARE = 0.9  # of a processor, for one that goes before all others


class Intake:
    """Use `run`, and `stop` from a signal handler; or `take_rest`."""

    def __init__(
        self,
        ring: Ring,
        source: socket.socket,
        queue_length: int,
        *,
        in_order: bool = False,
        is_first: bool = False,
    ) -> None:
        """`source`: a datagram socket. `queue_length`: of the kernel's queue. `in_order`: times of arrival are wanted.
        `is_first`: go before other processes, where that is permitted.
        """
        self._ring, self._source = ring, source
        self._queue_length, self._in_order = queue_length, in_order
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._receive.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        )
        self._stopping = False
        self._precedence = Precedence() if is_first else None
        self._moved_at, self._seen_freed = clock.monotonic(), -1

    def stop(self) -> None:
        self._stopping = True

    def run(self) -> int:
        """Until `stop`, and the queue was seen empty. The exit status."""
        while not self._ring.try_to_receive():  # the one before is ending
            time.sleep(_PAUSE_SECONDS)
        self._prepare()
        while True:
            error = self._take_all(_WAIT_FOR_ONE)
            if error == errno.ENOBUFS:
                error = self._do_without()
            if error == errno.EAGAIN:
                if self._stopping:
                    return 0
                if self._precedence is not None:
                    self._precedence.have()
            elif error != errno.EINTR:
                logger.error("receive-failed", extra={"reason": os.strerror(error)})
                return 1

    def take_rest(self) -> bool:
        """What fits in of what waits; whether there may be more. For who has the right to receive."""
        self._prepare()
        return self._take_all(_DO_NOT_WAIT) == errno.ENOBUFS

    def _prepare(self) -> None:
        source, ring = self._source, self._ring
        source.setblocking(True)
        micro = int(WAIT_SECONDS * 1_000_000)
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, micro))
        words = ring.words
        head = words[HEAD]
        while head - words[FREED] < ring.slots and ring.length(head % ring.slots):
            head += 1  # taken by one who was killed before it could say so
        words[HEAD] = head
        if head == words[FREED]:
            words[HEAVY] = words[RELEASED]  # which may differ where somebody was killed

    def _take_all(self, flags: int) -> int:
        """Until an error, the errno of which it returns: ENOBUFS where the ring has no room.

        One function and few names: ten datagrams come in a quarter of a millisecond.
        """
        ring, receive, number = self._ring, self._receive, self._source.fileno()
        words, slots, headers_at = ring.words, ring.slots, ring.headers_at
        head = words[HEAD]
        nap_below = self._queue_length // 8 if self._queue_length >= LONG_QUEUE else 0
        while True:
            place = head % slots
            room = min(slots - head + words[FREED], slots - place, BATCH)
            if room <= 0 or words[HEAVY] - words[RELEASED] > MAX_HEAVY_BYTES:
                return errno.ENOBUFS
            count = receive(number, headers_at + place * HEADER_BYTES, room, flags, None)
            if count <= 0:
                return ctypes.get_errno()
            if self._in_order:
                ring.stamps[place] = clock.now().timestamp()
            if count == 1:
                longest = ring.length(place)
            else:
                longest = max(ring.lengths(place, count))
                words[FULL] += count > self._queue_length
            if longest > LIGHT_BYTES:
                words[HEAVY] += sum(each for each in ring.lengths(place, count) if each > LIGHT_BYTES)
            head += count
            words[HEAD] = head
            if words[ASLEEP]:
                ring.wake()
            if count < nap_below and flags == _WAIT_FOR_ONE:
                time.sleep(_PAUSE_SECONDS)
            if place + count == slots and self._precedence is not None:
                self._precedence.be_fair()

    def _do_without(self) -> int:
        """The ring is full. Who counts is waited for, but not for long; then what comes is dropped, and counted. An
        errno.
        """
        freed, now = self._ring.words[FREED], clock.monotonic()
        if freed != self._seen_freed:
            self._seen_freed, self._moved_at = freed, now
        if now - self._moved_at < PATIENCE_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            return errno.EINTR
        try:
            while self._ring.words[FREED] == freed:
                self._source.recv(1)
                self._ring.words[DROPPED] += 1
        except OSError as error:
            return error.errno or errno.EIO
        return errno.EINTR


class Precedence:
    """Before all processes of normal priority (SCHED_FIFO): else they keep it from a short queue for some milliseconds.
    A flood that takes nearly all of a processor's time ends it, until there is a pause.
    """

    def __init__(self) -> None:
        self._has_it = False
        self._may = True
        self._at, self._used = clock.monotonic(), time.process_time()
        self.have()

    def have(self) -> None:
        """Where root, CAP_SYS_NICE or RLIMIT_RTPRIO permits it."""
        if self._may and not self._has_it:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            except OSError as error:
                self._may = False
                logger.info("receiver-without-precedence", extra={"reason": error.strerror})
            else:
                self._has_it = True

    def be_fair(self) -> None:
        at, used = clock.monotonic(), time.process_time()
        if self._has_it and used - self._used > MAX_SHARE * (at - self._at):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            self._has_it = False
        self._at, self._used = at, used
