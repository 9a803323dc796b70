"""Messages out of an mbox, one at a time: a file of any size costs the memory of its largest message.

A message begins at the start of the file, or after an empty line, with `From `, a sender and a time. Quoted
`>From ` lines lose one `>` (mboxrd; right for mboxo too, where only `From ` itself is quoted).
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

START = b"From "
_SEPARATOR = re.compile(rb"From .*\d\d:\d\d")
"""Text that happens to begin with "From " after an empty line has no time of day, mostly."""
_QUOTED = re.compile(rb">+From ")
_MAX_LINE = 1 << 20  # a "line" without an end is read in pieces


def split_mbox(file: BinaryIO, max_bytes: int) -> Iterator[bytes | None]:
    """The messages in turn; None stands for one larger than `max_bytes`."""
    lines: list[bytes] = []
    size = 0
    at_line_start, after_empty, begun = True, True, False
    while line := file.readline(_MAX_LINE):
        if at_line_start and after_empty and _SEPARATOR.match(line):
            if begun:
                yield _join(lines, size, max_bytes)
            lines, size, begun = [], 0, True
        else:
            if at_line_start and line[:1] == b">" and _QUOTED.match(line):
                line = line[1:]
            size += len(line)
            if size <= max_bytes:
                lines.append(line)
            else:
                lines.clear()
            begun = True
        after_empty = at_line_start and line in (b"\n", b"\r\n")
        at_line_start = line.endswith(b"\n")
    if begun:
        yield _join(lines, size, max_bytes)


def _join(lines: list[bytes], size: int, max_bytes: int) -> bytes | None:
    if size > max_bytes:
        return None
    if lines and lines[-1] in (b"\n", b"\r\n"):
        lines.pop()  # the empty line belongs to the separator
    return b"".join(lines)
