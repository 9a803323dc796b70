"""The backup as a file: tar, gzip and, where asked for, age; written and read as a stream.

Reading trusts nothing. Only plain members in the manifest's order are taken, each of the size that it says; links,
devices, folders and the extended headers of tar (whose length a reader must believe) are refused.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from mailward.backup import BackupFault
from mailward.backup.age import MAGIC, Lock, Opener, Sealer, Unsealer
from mailward.backup.manifest import MAX_BYTES, MAX_PARTS, NAME, Manifest, Part, read_manifest

_BLOCK = 512
_COPY_BYTES = 1024 * 1024
_GZIP_LEVEL = 1
"""A third of the size for a tenth of the time that the best level takes."""


def write_archive(target: BinaryIO, manifest: Manifest, files: dict[str, Path], lock: Lock) -> None:
    """`files`: where each part of the manifest is. Raises OSError and BackupFault."""
    if len(manifest.parts) > MAX_PARTS:
        raise BackupFault(f"{len(manifest.parts):,} files are to go into it, and it holds {MAX_PARTS:,}")
    sealer = Sealer(target, lock) if lock else None
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=sealer or target, mtime=0
    ) as packed:
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        _write_member(packed, NAME, len(text), io.BytesIO(text), manifest)
        for part in manifest.parts:
            with files[part.name].open("rb") as file:
                _write_member(packed, part.name, part.size, file, manifest)
        packed.write(bytes(2 * _BLOCK))
    if sealer is not None:
        sealer.finish()


def _write_member(packed: gzip.GzipFile, name: str, size: int, file: BinaryIO, manifest: Manifest) -> None:
    head = tarfile.TarInfo(name)
    head.size, head.mode, head.mtime = size, 0o600, int(manifest.made_at.timestamp())
    packed.write(head.tobuf(tarfile.GNU_FORMAT))  # sizes beyond 8 GiB without an extended header
    left = size
    while left:
        data = file.read(min(left, _COPY_BYTES))
        if not data:
            raise BackupFault(f"{name} became shorter while it was read")
        packed.write(data)
        left -= len(data)
    packed.write(bytes(-size % _BLOCK))


@contextmanager
def opened(source: BinaryIO, opener: Opener) -> Iterator[tuple[Manifest, "Members"]]:
    """The manifest, and what follows it. Raises BackupFault in the block too; what is read says it late."""
    try:
        stream = _unpacked(source, opener)
        head = _read_head(stream)
        if head is None or head.name != NAME or head.size > MAX_BYTES:
            raise BackupFault("it is no backup of Mailward: there is no manifest at its beginning")
        text = b"".join(_content(stream, head.size, NAME))
        manifest = read_manifest(text)
        yield manifest, Members(stream, manifest)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupFault("the file was altered or cut off") from error


class Members:
    """The parts, which can be read once, in their order."""

    def __init__(self, stream: BinaryIO, manifest: Manifest) -> None:
        self._stream = stream
        self._manifest = manifest

    def check(self, store: Callable[[Part], BinaryIO] | None = None) -> None:
        """Reads everything, compares sizes and hashes, and writes each part to what `store` opens for it.

        Raises BackupFault and OSError; then nothing that was stored may be used.
        """
        for part in self._manifest.parts:
            head = _read_head(self._stream)
            if head is None or head.name != part.name or head.size != part.size:
                raise BackupFault(f"{part.name} is not where its manifest says, or of another size")
            if store is None:
                found = _hash(self._stream, part, None)
            else:
                with store(part) as file:
                    found = _hash(self._stream, part, file)
            if found != part.sha256:
                raise BackupFault(f"{part.name} was altered: its SHA-256 is not that of the manifest")
        # to the very end: only there it shows that nothing was cut off, and gzip's own checksum
        if any(_read(self._stream, 2 * _BLOCK)) or self._stream.read(1):
            raise BackupFault("there is more in it than its manifest names")


def _hash(stream: BinaryIO, part: Part, file: BinaryIO | None) -> str:
    digest = hashlib.sha256()
    for data in _content(stream, part.size, part.name):
        digest.update(data)
        if file is not None:
            file.write(data)
    return digest.hexdigest()


def _unpacked(source: BinaryIO, opener: Opener) -> BinaryIO:
    buffered = _buffered(_Unclosed(source))
    if buffered.peek(len(MAGIC))[: len(MAGIC)] == MAGIC:
        buffered = _buffered(Unsealer(buffered, opener))
    if buffered.peek(2)[:2] != b"\x1f\x8b":
        raise BackupFault("it is no backup of Mailward")
    return gzip.GzipFile(fileobj=buffered, mode="rb")  # type: ignore[return-value]  # reads like any


def _buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, 64 * 1024)


class _Unclosed(io.RawIOBase):
    """The caller's file, which stays open when we are done with it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # of buffers only this kind comes here
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read_head(stream: BinaryIO) -> tarfile.TarInfo | None:
    """None at the end. Only what `write_archive` writes is known."""
    block = _read(stream, _BLOCK)
    if not any(block):
        return None
    try:
        head = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise BackupFault("the file was altered: a header in it is none of tar") from error
    if head.type != tarfile.REGTYPE or head.size < 0:
        raise BackupFault("there is something in it that is no plain file")
    return head


def _content(stream: BinaryIO, size: int, name: str) -> Iterator[bytes]:
    left = size
    while left:
        data = stream.read(min(left, _COPY_BYTES))
        if not data:
            raise BackupFault(f"the file ends within {name}")
        yield data
        left -= len(data)
    _read(stream, -size % _BLOCK)


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise BackupFault("the file was cut off")
    return data
