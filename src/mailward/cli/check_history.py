"""The file of `mailward check --history`: documents of earlier checks, one a line, and those of now behind them."""

import fcntl
import json
import os
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mailward.core.check.history import MAX_MOMENTS
from mailward.core.check.schema import MAX_DOCUMENT_BYTES, DocumentUnreadable, Moment, read_moment
from mailward.core.names import Domain


@dataclass(frozen=True, slots=True)
class Earlier:
    moments: dict[str, deque[Moment]]
    """By domain, the last MAX_MOMENTS of each."""
    unreadable: int
    """Lines that are no document of a check."""

    def of(self, domain: str) -> list[Moment]:
        return list(self.moments.get(domain, ()))


def read_history(file: Path, domains: Collection[Domain]) -> Earlier:
    """Of a file that is not there yet, nothing. Raises OSError."""
    moments: dict[str, deque[Moment]] = {}
    unreadable = 0
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        return Earlier(moments, 0)
    with stream:
        while line := stream.readline(MAX_DOCUMENT_BYTES + 1):
            try:
                moment = read_moment(line)
            except DocumentUnreadable:
                unreadable += bool(line.strip())
                continue
            if moment.domain in domains:
                moments.setdefault(moment.domain, deque(maxlen=MAX_MOMENTS)).append(moment)
    return Earlier(moments, unreadable)


def append_history(file: Path, documents: Iterable[dict[str, object]]) -> None:
    """Whole lines, also where two checks end at the same time or one was cut off before. Raises OSError."""
    text = "".join(json.dumps(document) + "\n" for document in documents).encode("ascii")
    with file.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            text = text if stream.read(1) == b"\n" else b"\n" + text
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
