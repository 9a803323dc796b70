"""Postfix's log, followed as it is written: a file (of syslog, or maillog_file), or the systemd journal.

A place is where a line ends: given back at the next start, what has been written since then is read. Some of what
stands before it is read again, with no place: whoever puts lines together needs to know what led to the next ones.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from mailward.core.postfix.smtplog import Entry, read_line, read_message
from mailward.net import clock

logger = logging.getLogger("mailward.sender")

JOURNAL = "journal"
MAX_LINE_BYTES = 64 * 1024  # what has no end until then is passed over
READ_BYTES = 256 * 1024  # of one batch
CONTEXT_BYTES = 256 * 1024
CONTEXT_LINES = 2000
ROTATED_SECONDS = 2.0  # so long the old file is looked at after the new one has come
MAX_SIBLINGS = 100
_JOURNAL_WAIT_SECONDS = 0.2
_RESTART_SECONDS = 5.0


@dataclass(slots=True)
class Batch:
    entries: list[tuple[Entry, str | None]] = field(default_factory=list)
    """With their places; None for what was settled before."""
    has_gap: bool = False
    """Lines were lost before these."""
    is_full: bool = False
    """More is there already."""


class PostfixLog(Protocol):
    async def read(self) -> Batch:
        """What is new; waits for nothing, or not for long."""

    async def close(self) -> None: ...


def open_log(where: str, place: str | None, journal_command: tuple[str, ...] = ("journalctl",)) -> PostfixLog:
    """`where`: a path, or `journal`."""
    if where == JOURNAL:
        return JournalLog(place, journal_command)
    return FileLog(Path(where), place)


class FileLog:
    """Follows a name: through rotation to the next file, and back to the start where the file was cut."""

    def __init__(self, path: Path, place: str | None) -> None:
        self._path = path
        self._file: int | None = None
        self._inode = self._offset = 0
        self._settled_until = 0
        """Up to this offset, lines have been settled."""
        self._rest = b""
        self._skips = False
        """Amid a line that is too long."""
        self._replaced_at: float | None = None
        self._start_at = place
        self._is_missing = False

    async def read(self) -> Batch:
        batch = Batch()
        if self._file is None and not self._open(batch):
            return batch
        assert self._file is not None  # noqa: S101 - opened above
        size = os.fstat(self._file).st_size
        if size < self._offset:  # cut, and written anew (logrotate's copytruncate)
            batch.has_gap = True
            self._settled_until = 0
            self._go_to(0)
        data = os.pread(self._file, READ_BYTES, self._offset)
        self._take(data, batch)
        batch.is_full = len(data) == READ_BYTES
        if not data:
            self._follow_rotation()
        return batch

    async def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, batch: Batch) -> bool:
        place, path = self._start_at, self._path
        inode, offset = _read_place(place)
        if inode and (older := self._find(inode)) is not None:
            path = older
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if not self._is_missing:  # once: it may come with the first mail
                logger.warning("log-not-readable", extra={"file": str(path), "reason": error.strerror})
                self._is_missing = True
            return False
        found = os.fstat(self._file)
        was_missing, self._is_missing = self._is_missing, False
        self._inode = found.st_ino
        if place is None and was_missing:
            self._settled_until = 0
        elif place is None:  # the first start: what was before us is not ours to count
            self._settled_until = found.st_size
        elif inode == found.st_ino and offset <= found.st_size:
            self._settled_until = offset
        else:
            batch.has_gap = place != ""
            self._settled_until = 0
        self._go_to(max(self._settled_until - CONTEXT_BYTES, 0))
        self._skips = self._offset > 0  # amid some line
        self._start_at = ""
        return True

    def _find(self, inode: int) -> Path | None:
        """The file by that number, which may have another name by now."""
        with contextlib.suppress(OSError):
            beside = sorted(self._path.parent.glob(f"{self._path.name}*"))[:MAX_SIBLINGS]
            for path in beside:
                if path.suffix not in (".gz", ".xz", ".bz2", ".zst") and path.stat().st_ino == inode:
                    return path
        return None

    def _go_to(self, offset: int) -> None:
        self._offset, self._rest, self._skips = offset, b"", False

    def _take(self, data: bytes, batch: Batch) -> None:
        start = self._offset - len(self._rest)
        self._offset += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        now = clock.now().astimezone()  # in the machine's time zone: logs do not name theirs
        for line in lines:
            start += len(line) + 1
            if self._skips:
                self._skips = False
                continue
            entry = read_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace"), now)
            if entry is not None:
                settled = start <= self._settled_until
                batch.entries.append((entry, None if settled else f"{self._inode}:{start}"))
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skips = b"", True

    def _follow_rotation(self) -> None:
        try:
            inode = self._path.stat().st_ino
        except OSError:
            return  # moved away, and the next one is not there yet
        if inode == self._inode:
            self._replaced_at = None
        elif self._replaced_at is None:
            self._replaced_at = clock.monotonic()  # the writer may still have the old one open
        elif clock.monotonic() - self._replaced_at >= ROTATED_SECONDS and self._file is not None:
            os.close(self._file)
            self._file, self._replaced_at = None, None


class JournalLog:
    """`journalctl --follow`, started again when it ends."""

    def __init__(self, place: str | None, command: tuple[str, ...]) -> None:
        self._cursor, self._command = place, command
        self._process: asyncio.subprocess.Process | None = None
        self._start_at = clock.now().timestamp() if place is None else 0.0
        """Lines before that are not ours to count."""
        self._retry_at = 0.0
        self._has_read = True

    async def read(self) -> Batch:
        batch = Batch()
        if self._process is None and not await self._start(batch):
            await asyncio.sleep(_JOURNAL_WAIT_SECONDS)
            return batch
        try:
            async with asyncio.timeout(_JOURNAL_WAIT_SECONDS):
                while len(batch.entries) < CONTEXT_LINES:
                    await self._read_one(batch)
                batch.is_full = True
        except TimeoutError:
            pass
        return batch

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def _start(self, batch: Batch) -> bool:
        if clock.monotonic() < self._retry_at:
            return False
        if not self._has_read:  # it ended without a line: it does not know the cursor any more
            self._cursor, batch.has_gap = None, True
            self._start_at = clock.now().timestamp()
        since = f"--after-cursor={self._cursor}" if self._cursor else f"--lines={CONTEXT_LINES}"
        words = ("--follow", "--output=json", "--no-pager", "--quiet", "--facility=mail", since)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                limit=4 * MAX_LINE_BYTES,
            )
        except OSError as error:
            logger.warning("log-not-readable", extra={"file": JOURNAL, "reason": error.strerror})
            self._retry_at = clock.monotonic() + 60.0
            return False
        self._has_read = self._cursor is None
        return True

    async def _read_one(self, batch: Batch) -> None:
        assert self._process is not None  # noqa: S101 - by `read`
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            line = await self._process.stdout.readline()
        except ValueError:  # a line beyond the limit, which is passed over
            return
        if line:
            self._has_read = True
            self._take(line, batch)
            return
        status = await self._process.wait()
        logger.warning("log-not-readable", extra={"file": JOURNAL, "reason": f"journalctl: status {status}"})
        self._process, self._retry_at = None, clock.monotonic() + _RESTART_SECONDS
        raise TimeoutError  # nothing more to read now

    def _take(self, line: bytes, batch: Batch) -> None:
        try:
            message = _messages(line)
            at = int(message.realtime) / 1e6
        except (msgspec.MsgspecError, ValueError):  # such as a message that is no text
            return
        self._cursor = message.cursor
        entry = read_message(f"{message.identifier}[{message.pid}]: {message.text}", at)
        if entry is not None:
            batch.entries.append((entry, message.cursor if at >= self._start_at else None))


class _Message(msgspec.Struct):
    """A line of `journalctl --output=json` (systemd.journal-fields(7))."""

    text: str = msgspec.field(name="MESSAGE")
    identifier: str = msgspec.field(name="SYSLOG_IDENTIFIER")
    pid: str = msgspec.field(name="_PID")
    """Of the process as the kernel knows it, not as it says."""
    realtime: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    cursor: str = msgspec.field(name="__CURSOR")


_messages: Callable[[bytes], _Message] = msgspec.json.Decoder(_Message).decode


def _read_place(place: str | None) -> tuple[int, int]:
    inode, _, offset = (place or "").partition(":")
    try:
        return int(inode), int(offset)
    except ValueError:  # another kind of log was followed before
        return 0, 0
