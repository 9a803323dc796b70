"""Finished rows, appended a frame at a time; a frame is whole or it is not there.

A frame: `MWSJ`, the number of rows, the length of what follows, a CRC-32 of the number and of what follows (each
4 bytes, big-endian), the rows' places in the plan (4 bytes each), the rows (`Frame`) as MessagePack under zlib. What a
kill left at the end is cut off when the journal is opened.
"""

import fcntl
import os
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from mailward.core.survey.columns import Row
from mailward.core.survey.parts import Own, Parts, Shared, join_row

JOURNAL = "journal"
FORMAT = 2  # of a frame
_HEAD = struct.Struct(">4sIII")
_MARK = b"MWSJ"
_MAX_FRAME = 64 * 1024 * 1024
_LEVEL = 1  # of zlib: the disk is not what is scarce


class JournalBusy(Exception):
    """Another process writes it."""


class Frame(msgspec.Struct, array_like=True):
    """Rows in two parts (core.survey.parts)."""

    own: list[Own]
    shared: list[Shared]
    """Each once."""
    which: list[int]
    """The place in `shared` of each row's."""

    def rows(self) -> list[Row]:
        return [join_row(own, self.shared[at]) for own, at in zip(self.own, self.which, strict=True)]


def encode_frame(places: Sequence[int], rows: Sequence[Parts]) -> bytes:
    index = array("I", places)
    index.byteswap()
    shared: dict[Shared, int] = {}
    which = [shared.setdefault(row.shared, len(shared)) for row in rows]
    frame = Frame([row.own for row in rows], list(shared), which)
    body = index.tobytes() + zlib.compress(msgspec.msgpack.encode(frame), _LEVEL)
    return _HEAD.pack(_MARK, len(places), len(body), _checksum(len(places), body)) + body


class Journal:
    """Open for appending, by one process. Raises OSError, JournalBusy."""

    def __init__(self, folder: Path, names: int) -> None:
        self._file = (folder / JOURNAL).open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise JournalBusy(str(folder)) from error
        self.done = Done(names)
        self.cut_bytes = self._recover()
        self._is_synced = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sync()
        self._file.close()

    def append(self, frame: bytes) -> "array[int]":
        """The places of its rows. Durable after `sync`. Raises ValueError where one of them has a row already."""
        _, count, _, _ = _HEAD.unpack_from(frame)
        places = _places(frame[_HEAD.size : _HEAD.size + 4 * count])
        if any(place in self.done for place in places):
            raise ValueError("a row is there already")
        self._file.write(frame)
        for place in places:
            self.done.add(place)
        self._is_synced = False
        return places

    def sync(self) -> None:
        if not self._is_synced:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._is_synced = True

    def _recover(self) -> int:
        """Note what is done, and cut off what is no whole frame: how many bytes that is."""
        self._file.seek(0)
        end = 0
        for places, body in _frames(self._file):
            end += _HEAD.size + len(body)
            for place in places:
                self.done.add(place)
        size = self._file.seek(0, os.SEEK_END)
        if size > end:
            self._file.truncate(end)
            os.fsync(self._file.fileno())
        return size - end


class Done:
    """Which places of the plan have a row: a bit each."""

    def __init__(self, names: int) -> None:
        self._bits = bytearray(names // 8 + 1)
        self._names = names
        self.count = 0

    def __contains__(self, place: int) -> bool:
        return bool(self._bits[place >> 3] & 1 << (place & 7))

    def add(self, place: int) -> None:
        """Raises IndexError for what is no place of the plan."""
        if place >= self._names:
            raise IndexError(f"place {place} of {self._names}")
        self.count += place not in self
        self._bits[place >> 3] |= 1 << (place & 7)


def read_frames(folder: Path) -> Iterator[tuple[Frame, int]]:
    """One after the other, in the order in which they were finished, and how many bytes each takes."""
    decoder = msgspec.msgpack.Decoder(Frame)
    with (folder / JOURNAL).open("rb") as file:
        for places, body in _frames(file):
            data = zlib.decompress(body[4 * len(places) :])
            yield decoder.decode(data), len(data)


def _frames(file: BinaryIO) -> Iterator[tuple["array[int]", bytes]]:
    """The whole frames from the file's position on: the places of the rows, and all behind the head."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        mark, count, length, checksum = _HEAD.unpack(head)
        if mark != _MARK or not 4 * count <= length <= _MAX_FRAME:
            return
        body = file.read(length)
        if len(body) < length or _checksum(count, body) != checksum:
            return
        yield _places(body[: 4 * count]), body


def _checksum(count: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(count.to_bytes(4, "big")))


def _places(data: bytes) -> "array[int]":
    places = array("I", data)
    places.byteswap()
    return places
