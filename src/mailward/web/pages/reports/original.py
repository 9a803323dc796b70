"""The JSON of a report as its sender wrote it, for people to look at."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.core.tlsrpt.mime import parse_entity, walk
from mailward.core.tlsrpt.unpack import Budget, unpack

MOST_SHOWN = 200_000
"""Characters; the whole is there to download."""
_MOST_DOCUMENTS = 200
_MOST_DEPTH = 20
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Original:
    text: str
    is_as_sent: bool
    """Otherwise what was read from it, since the sender's own text is not found."""
    is_cut: bool


def show_original(content: bytes, *, report_id: str, parsed: bytes) -> Original:
    """The document of the report with this id in the bytes of a mail or file, with line breaks of ours.

    Nothing else is changed: numbers, duplicates and escapes stand as sent.
    """
    found = _find_document(content, report_id)
    text = (parsed if found is None else found).decode("utf-8", "replace").removeprefix("\ufeff")
    shown, is_cut = lay_out(text)
    return Original(shown, found is not None, is_cut)


def lay_out(text: str, limit: int = MOST_SHOWN) -> tuple[str, bool]:
    """JSON, broken or not, with a line for each member; and whether it was cut at `limit` characters."""
    lines: list[str] = []
    size, depth, before = 0, 0, ""
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece in ("}", "]"):
            depth = max(0, depth - 1)
        lead = _space_between(before, piece, depth)
        if piece in ("{", "["):
            depth += 1
        lines.append(lead + piece)
        size += len(lead) + len(piece)
        if size > limit:
            return "".join(lines)[:limit], True
        before = piece
    return "".join(lines), False


def _space_between(before: str, piece: str, depth: int) -> str:
    if before == ":":
        return " "
    is_empty = before + piece in ("{}", "[]")
    if (before in ("{", "[", ",") and not is_empty) or (piece in ("}", "]") and not is_empty):
        return "\n" + "  " * min(depth, _MOST_DEPTH)
    return ""


def _find_document(content: bytes, report_id: str) -> bytes | None:
    """The first that names the report id; else the only one."""
    try:
        found = list(itertools.islice(_documents(content), _MOST_DOCUMENTS))
    except Unreadable:
        return None
    named = [each for each in found if report_id and _quoted(report_id) in each]
    if named:
        return named[0]
    return found[0] if len(found) == 1 else None


def _quoted(report_id: str) -> bytes:
    return msgspec.json.encode(report_id)[1:-1]


def _documents(content: bytes) -> Iterator[bytes]:
    limits, notes = DEFAULT_LIMITS, Notes()
    budget = Budget.of(limits)
    for outer in unpack(content, budget, notes, limits):
        if _is_json(outer.content):
            yield outer.content
            continue
        budget.left += len(outer.content)  # it is a mail: its parts are counted by themselves
        for part in walk(parse_entity(outer.content, limits), notes, limits):
            body = part.decode(notes, "")
            for inner in unpack(body, budget, notes, limits, name=part.file_name):
                if _is_json(inner.content):
                    yield inner.content


def _is_json(content: bytes) -> bool:
    return content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
