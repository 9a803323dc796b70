"""What is to be asked, fixed before the first question: the same list may not come twice, from standard input
for one.
"""

import csv
import hashlib
import heapq
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from mailward.core.names import Domain, InvalidName
from mailward.core.survey.listing import MAX_LINE_BYTES, Entry, read_line
from mailward.render.cell import neutralise

NAMES, REJECTED = "names", "rejected.csv"
_SHOWN = 120  # characters of a line that is rejected


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of lines of the list."""

    names: int
    """To be asked."""
    lines: int
    duplicates: int
    rejected: int
    left_out: int
    """By sampling."""
    sha256: str
    """Of the list."""


def make_plan(source: BinaryIO, folder: Path, sample: int | None = None) -> Plan:
    """Read the list and write `names` and `rejected.csv`. With `sample`, so many of the names: the same list gives the
    same sample, and a smaller one is part of a larger. Raises OSError.
    """
    digest, seen = hashlib.sha256(), Seen()
    lines = duplicates = rejected = names = 0
    unfinished = folder / f"{NAMES}.new"
    with (
        unfinished.open("w") as target,
        (folder / REJECTED).open("w", newline="", encoding="utf-8") as refused,
    ):
        table = csv.writer(refused, lineterminator="\r\n")
        table.writerow(("line", "text", "reason"))
        for line in _lines(source, digest):
            lines += 1
            try:
                entry = read_line(line, lines)
            except InvalidName as error:
                rejected += 1
                table.writerow((lines, neutralise(_show(line)), neutralise(str(error))))
                continue
            if entry is None:
                continue
            if seen.add(entry.domain):
                names += 1
                _write(target, entry)
            else:
                duplicates += 1
    kept = names if sample is None else min(sample, names)
    if kept < names:
        _sample(unfinished, kept)
    with unfinished.open("rb+") as target:
        os.fsync(target.fileno())
    unfinished.replace(folder / NAMES)
    return Plan(kept, lines, duplicates, rejected, names - kept, digest.hexdigest())


def read_names(folder: Path) -> Iterator[Entry]:
    """In the order of the list."""
    with (folder / NAMES).open() as names:
        for text in names:
            line, rank, domain = text.rstrip("\n").split("\t")
            yield Entry(int(line), int(rank) if rank else None, Domain(domain))


def hash_list(source: BinaryIO) -> str:
    """SHA-256, as a plan has it."""
    digest = hashlib.sha256()
    while data := source.read(1024 * 1024):
        digest.update(data)
    return digest.hexdigest()


def _lines(source: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    """However long a line is, no more than its beginning is kept: enough to say that it is too long."""
    while line := source.readline(MAX_LINE_BYTES + 2):
        digest.update(line)
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE_BYTES)
            digest.update(rest)
        yield line


def _write(target: TextIO, entry: Entry) -> None:
    target.write(f"{entry.line}\t{'' if entry.rank is None else entry.rank}\t{entry.domain}\n")


def _show(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").strip()[:_SHOWN]


def _sample(path: Path, count: int) -> None:
    with path.open() as names:
        chosen = heapq.nsmallest(count, ((_key(text), at) for at, text in enumerate(names)))
    places = {at for _, at in chosen}
    sampled = path.with_suffix(".sample")
    with path.open() as names, sampled.open("w") as target:
        target.writelines(text for at, text in enumerate(names) if at in places)
    sampled.replace(path)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.rpartition("\t")[2].encode("ascii"), digest_size=8).digest()


class Seen:
    """A set of names in 8 bytes each, at half load: of ten million names, two are taken for one with a chance of 3 in a
    million.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, name: str) -> bool:
        """Whether it is new."""
        if 2 * self._count >= len(self._slots):
            self._grow()
        digest = hashlib.blake2b(name.encode("ascii"), digest_size=8).digest()
        is_new = self._put(int.from_bytes(digest, "big") or 1)  # 0 is an empty slot
        self._count += is_new
        return is_new

    def _put(self, key: int) -> bool:
        slots = self._slots
        at = key % len(slots)
        while slots[at]:
            if slots[at] == key:
                return False
            at = (at + 1) % len(slots)
        slots[at] = key
        return True

    def _grow(self) -> None:
        before, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
        for key in before:
            if key:
                self._put(key)
