"""Datagrams on their way from the process that takes them off the kernel to the one that counts them: in memory that
both see, and that outlives each of them.

A ring of slots of one size. The kernel writes datagrams straight into them, and their lengths into the headers that
recvmmsg(2) wants. Who receives then moves HEAD on; who counts moves TAIL on when it has copied them, and FREED when
they may be written to again. So whoever of both is killed, the next one finds what was not copied. A slot is 256 KiB of
address space, of which pages are real that something was written to: one, for all that Postfix sends.
"""

import ctypes
import fcntl
import mmap
import os
import select

from mailward.core.postfix.datagram import MAX_DATAGRAM_BYTES

SLOTS = 4096
SLOT_BYTES = 256 * 1024
CONTROL_BYTES = 32  # CMSG_SPACE(sizeof(struct ucred))
ROOM = SLOT_BYTES - CONTROL_BYTES
LIGHT_BYTES = mmap.PAGESIZE - CONTROL_BYTES  # what is longer needs more than the page that a slot keeps
MAX_HEAVY_BYTES = 32 * 1024 * 1024
HEADER_BYTES = 64  # struct mmsghdr
_LENGTH_WORD, _HEADER_WORDS = 14, 16
_VECTOR_BYTES, _STAMP_BYTES = 16, 8

# Words of 8 bytes, each with one writer. These by who receives:
HEAD, DROPPED, FULL, HEAVY = 0, 1, 2, 3
# and these by who counts, a cache line apart; whoever wakes it takes ASLEEP back.
TAIL, FREED, DROPPED_TOLD, FULL_TOLD, RELEASED, ASLEEP = 8, 9, 10, 11, 12, 13
_WORDS_BYTES = mmap.PAGESIZE

assert ROOM > MAX_DATAGRAM_BYTES  # noqa: S101 - what is cut off must be too large anyway


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


class Ring:
    """Made before the processes that share it: addresses in the headers hold in all that are forked from its maker."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.slots = slots
        vectors_at = _WORDS_BYTES + slots * HEADER_BYTES
        stamps_at = vectors_at + slots * _VECTOR_BYTES
        self.slots_at = -(-(stamps_at + slots * _STAMP_BYTES) // mmap.PAGESIZE) * mmap.PAGESIZE
        size = self.slots_at + slots * SLOT_BYTES
        self._file = os.memfd_create("mailward-signals")
        os.ftruncate(self._file, size)
        self.room = mmap.mmap(self._file, size)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._event, select.POLLIN)
        view = memoryview(self.room)
        self.words = view[:_WORDS_BYTES].cast("q")
        self.stamps = view[stamps_at : stamps_at + slots * _STAMP_BYTES].cast("d")
        """When datagrams came, in seconds since 1970; 0: with the one before."""
        self.headers_at = ctypes.addressof(ctypes.c_char.from_buffer(self.room)) + _WORDS_BYTES
        self._write_headers(vectors_at)
        headers = view[_WORDS_BYTES:vectors_at]
        self._fresh = bytes(headers)
        self._headers = headers
        self._lengths = headers.cast("I")

    def _write_headers(self, vectors_at: int) -> None:
        start = self.headers_at - _WORDS_BYTES
        headers = (_MultiHeader * self.slots).from_buffer(self.room, _WORDS_BYTES)
        vectors = (_IoVec * self.slots).from_buffer(self.room, vectors_at)
        for number in range(self.slots):
            slot = start + self.slots_at + number * SLOT_BYTES
            # what is with the message stands right before it: one page holds both
            vectors[number] = _IoVec(slot + CONTROL_BYTES, ROOM)
            vector = start + vectors_at + number * _VECTOR_BYTES
            headers[number].header = _MsgHeader(None, 0, vector, 1, slot, CONTROL_BYTES, 0)

    def lengths(self, place: int, count: int) -> list[int]:
        """Of datagrams in slots that follow each other, the first of which is `place`."""
        first = place * _HEADER_WORDS + _LENGTH_WORD
        return self._lengths[first : first + (count - 1) * _HEADER_WORDS + 1 : _HEADER_WORDS].tolist()

    def length(self, place: int) -> int:
        return self._lengths[place * _HEADER_WORDS + _LENGTH_WORD]

    def free(self) -> None:
        """All up to TAIL may be written to again: the kernel has changed their headers."""
        words = self.words
        while (freed := words[FREED]) < words[TAIL]:
            place = freed % self.slots
            count = min(words[TAIL] - freed, self.slots - place)
            lengths = self.lengths(place, count)
            if max(lengths) > LIGHT_BYTES:
                for number, length in enumerate(lengths, place):
                    if length > LIGHT_BYTES:
                        self._give_back(number, length)
            begin, end = place * HEADER_BYTES, (place + count) * HEADER_BYTES
            self._headers[begin:end] = self._fresh[begin:end]
            words[FREED] = freed + count

    def _give_back(self, place: int, length: int) -> None:
        """The memory of a slot that had a long datagram, but for one page."""
        start = self.slots_at + place * SLOT_BYTES + mmap.PAGESIZE
        more = length + CONTROL_BYTES - mmap.PAGESIZE
        self.room.madvise(mmap.MADV_REMOVE, start, -(-more // mmap.PAGESIZE) * mmap.PAGESIZE)
        self.words[RELEASED] += length

    def wake(self) -> None:
        """Who sleeps in `sleep`."""
        self.words[ASLEEP] = 0
        os.eventfd_write(self._event, 1)

    def sleep(self, seconds: float) -> None:
        """Until something comes. A wake-up that is lost between two processors costs that time and no more."""
        words = self.words
        words[ASLEEP] = 1
        if words[HEAD] == words[TAIL] and self._poll.poll(seconds * 1000):
            os.eventfd_read(self._event)
        words[ASLEEP] = 0

    def try_to_receive(self) -> bool:
        """Whether this process may: one at a time. The right to it ends with the process."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
