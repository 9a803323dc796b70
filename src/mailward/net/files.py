"""Files that may hold reports: single ones, mboxes, Maildirs, folders of any of these, standard input.

    for item in walk(["inbox.mbox", "reports/", "-"]):
        ...  # item.content, or item.error that says why there is none

What cannot be read is an item with an error, so that the rest goes on. In folders, hidden files and files
that cannot be reports (a README) are passed over; a file that is named is always read.
"""

# ruff: noqa: PTH112, PTH116, PTH119, PTH122, PTH123 - a Path for each file costs more than reading it
import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import NamedTuple

from mailward.net.mbox import START, split_mbox

MIB = 1024 * 1024
STDIN = "-"
_STDIN_NAME = "standard input"
_ENDINGS = (".json", ".gz", ".zip", ".eml", ".mbox", ".mbx")
_SNIFFED_ENDINGS = (".txt", ".msg", ".mail", "")
"""These may be anything: their first bytes decide."""
_HEAD_BYTES = 512
_FIRST_BYTES = 64 * 1024  # most reports come whole in one read
_LOOKS_LIKE_REPORT = re.compile(
    rb"""From\ |\s*[\[{]|\x1f\x8b|PK\x03\x04   # mbox, JSON, gzip, zip
    |\xef\xbb\xbf\s*[\[{]                      # JSON behind a byte order mark
    |[A-Za-z][A-Za-z0-9-]*:[ \t]               # a mail""",
    re.VERBOSE,
)
_MAILDIR_FOLDERS = ("cur", "new")


@dataclass(frozen=True, slots=True)
class WalkLimits:
    max_item_bytes: int = 50 * MIB
    """Of one file, or of one message in an mbox."""


class Item(NamedTuple):  # made in a third of a frozen dataclass's time
    name: str
    """Relative to the folder that was given, else as given; `inbox.mbox#2` for a message of several."""
    content: bytes | None
    """None: see `error`."""
    error: str | None = None


class _Found(NamedTuple):
    name: str
    path: str
    is_folder: bool
    error: str | None = None
    is_listed: bool = False
    """It came out of a folder, where only ordinary files are looked at."""


DEFAULT_LIMITS = WalkLimits()


class Part(NamedTuple):
    """One of several who walk the same paths side by side: each file is read by one of them."""

    number: int = 0
    of: int = 1

    def has(self, place: int) -> bool:
        return place // _RUN % self.of == self.number


WHOLE = Part()
_RUN = 64  # neighbours on the disk stay together


def walk(paths: Iterable[str], limits: WalkLimits = DEFAULT_LIMITS, part: Part = WHOLE) -> Iterator[Item]:
    """Every item under the paths, in the order of names; `-` is standard input. Never raises OSError."""
    places = count()
    for path in paths:
        if path == STDIN:
            if part.number == 0:
                yield from _read_stdin(limits)
            continue
        for found in _find(path, part, places):
            if found.error is not None:
                yield Item(found.name, None, found.error)
            else:
                yield from _read(found, limits)


def measure(paths: Iterable[str]) -> int:
    """The bytes that `walk` will read, for a progress bar; standard input counts as nothing."""
    total = 0
    for path in paths:
        for found in _find(path, WHOLE, count()):
            try:
                total += os.stat(found.path).st_size
            except OSError:
                continue
    return total


def _find(path: str, part: Part, places: Iterator[int]) -> Iterator[_Found]:
    """The file, or the candidates below the folder. A loop of symbolic links is walked once. `places` numbers all
    files, of the other parts too.
    """
    if not os.path.isdir(path):
        if part.has(next(places)):
            yield _Found(_decode(path), path, is_folder=False)
        return
    seen: set[tuple[int, int]] = set()
    # a stack of our own: folders may be nested deeper than Python recurses
    open_folders = [_list(_Found("", path, is_folder=True), seen, part, places)]
    while open_folders:
        found = next(open_folders[-1], None)
        if found is None:
            open_folders.pop()
        elif found.is_folder:
            open_folders.append(_list(found, seen, part, places))
        else:
            yield found


def _list(folder: _Found, seen: set[tuple[int, int]], part: Part, places: Iterator[int]) -> Iterator[_Found]:
    """Folders, and the candidates of this part, as they are asked for."""
    try:
        here = os.stat(folder.path)
        if (here.st_dev, here.st_ino) in seen:
            return
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder.path) as entries:
            listed = sorted(entries, key=attrgetter("name"))
    except OSError as error:
        if part.has(next(places)):
            yield _Found(folder.name or _decode(folder.path), folder.path, is_folder=False, error=_say(error))
        return
    prefix = f"{folder.name}/" if folder.name else ""
    in_maildir = os.path.basename(folder.path.rstrip("/")) in _MAILDIR_FOLDERS
    for entry in listed:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield _Found(prefix + _decode(entry.name), entry.path, is_folder=True)
        elif part.has(next(places)) and entry.is_file() and (in_maildir or _is_candidate(entry)):
            yield _Found(prefix + _decode(entry.name), entry.path, is_folder=False, is_listed=True)


def _decode(name: str) -> str:
    """The name as text that can be written: bytes that are no UTF-8 are shown as such."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    if name.endswith(_ENDINGS):
        return True
    if os.path.splitext(name)[1] not in _SNIFFED_ENDINGS:
        return False
    try:
        with open(entry.path, "rb") as file:
            return _LOOKS_LIKE_REPORT.match(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return True  # to be named with its reason


def _read(found: _Found, limits: WalkLimits) -> Iterator[Item]:
    try:
        # a pipe, which may be named but is never listed, can be opened only once
        is_ordinary = found.is_listed or stat.S_ISREG(os.stat(found.path).st_mode)
        content = _read_small(found.path) if is_ordinary and limits.max_item_bytes >= _FIRST_BYTES else None
        if content is not None:
            yield Item(found.name, content)
            return
        with open(found.path, "rb") as file:
            yield from _read_open(found.name, file, limits)
    except OSError as error:
        yield Item(found.name, None, _say(error))


def _read_small(path: str) -> bytes | None:
    """The whole of an ordinary file that is small and no mbox, in half the time of an open file object."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(handle, _FIRST_BYTES)
        if len(content) == _FIRST_BYTES or content.startswith(START) or os.read(handle, 1):
            return None
        return content
    finally:
        os.close(handle)


def _read_stdin(limits: WalkLimits) -> Iterator[Item]:
    try:
        number = sys.stdin.fileno()
    except (OSError, AttributeError):  # a program without standard input has None there
        yield Item(_STDIN_NAME, None, "it is closed")
        return
    try:
        with open(number, "rb", closefd=False) as file:
            yield from _read_open(_STDIN_NAME, file, limits)
    except OSError as error:
        yield Item(_STDIN_NAME, None, _say(error))


def _read_open(name: str, file: io.BufferedReader, limits: WalkLimits) -> Iterator[Item]:
    if file.peek(len(START)).startswith(START):
        yield from _read_mbox(name, file, limits)
        return
    # one byte more than allowed tells whether there is more
    pieces = [file.read(min(_FIRST_BYTES, limits.max_item_bytes + 1))]
    size = len(pieces[0])
    while pieces[-1] and size <= limits.max_item_bytes:
        pieces.append(file.read(min(MIB, limits.max_item_bytes + 1 - size)))
        size += len(pieces[-1])
    yield _take(name, b"".join(pieces) if size <= limits.max_item_bytes else None, limits)


def _read_mbox(name: str, file: io.BufferedReader, limits: WalkLimits) -> Iterator[Item]:
    """One item a message. A file with a single one keeps its own name: many programs save a mail so."""
    messages = split_mbox(file, limits.max_item_bytes)
    first, *second = next(messages), *_next(messages)
    yield _take(f"{name}#1" if second else name, first, limits)
    if second:
        yield _take(f"{name}#2", second.pop(), limits)
    for number, message in enumerate(messages, 3):
        yield _take(f"{name}#{number}", message, limits)


def _next(messages: Iterator[bytes | None]) -> list[bytes | None]:
    """The next message, if there is one; None stands for one too large."""
    for message in messages:
        return [message]
    return []


def _take(name: str, content: bytes | None, limits: WalkLimits) -> Item:
    if content is None:
        return Item(name, None, f"larger than {limits.max_item_bytes / MIB:g} MiB")
    return Item(name, content)


def _say(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
