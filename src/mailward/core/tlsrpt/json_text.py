"""JSON as strangers write it: the full grammar, what is outside it noted, sizes checked before parsing."""

import json
import re
from collections import Counter
from dataclasses import dataclass

from mailward.core.tlsrpt.deviations import Notes, encodable, excerpt
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import Limits

UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

# possessive: one pass and no stack, whatever the string holds; the end may be missing
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_STRINGS = re.compile(_STRING, re.DOTALL)
# so many at a time: re.sub keeps every piece between them, a hundred bytes each
_STRETCH = re.compile(rb'(?:[^"]*+' + _STRING + rb"){1,10000}+", re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_RAW_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class BadNumber:
    """A number that no count can be: the slug says why."""

    slug: str
    text: str


class Fields(dict[str, object]):
    """A JSON object that remembers which of its keys came twice."""

    __slots__ = ("doubled",)
    doubled: tuple[str, ...]


def parse_json(data: bytes, notes: Notes, limits: Limits, *, prefix: str = "") -> object:
    """The JSON document at the start of `data`: Fields, list, str, int, float, BadNumber, bool or None.

    Places of notes are lines, behind `prefix`. Raises Unreadable: too-large, too-deep, json-truncated, not-json.
    """
    data = _as_utf8(data, notes, prefix)
    check_shape(data, limits)
    text = data.decode("utf-8")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _refusal(text, error) from None
    rest = text[end:].strip(" \t\r\n")
    if rest:
        notes.add("trailing-data", f"{prefix}line {_line_of(text, text.index(rest[0], end))}", rest)
    if control := _RAW_CONTROL.search(text, start, end):
        notes.add("raw-control-chars", f"{prefix}line {_line_of(text, control.start())}", control[0])
    result: object = value  # the json module says Any
    return result


def check_shape(data: bytes, limits: Limits) -> None:
    """Raises Unreadable for JSON that would cost too much stack or memory to parse."""
    opened = data.count(b"{") + data.count(b"[")
    if opened <= limits.max_depth and data.count(b",") + opened <= limits.max_values:
        return
    brackets = _find_brackets(data, limits)
    for _level in range(limits.max_depth):
        inner = brackets.replace(b"[]", b"")  # takes off exactly the innermost level
        if len(inner) == len(brackets):
            break
        brackets = inner
    if b"[]" in brackets or brackets.count(b"[") > limits.max_depth:
        raise Unreadable("too-deep", f"the JSON is nested more than {limits.max_depth} levels deep")


def _find_brackets(data: bytes, limits: Limits) -> bytes:
    """The brackets outside strings, all as square ones. Raises Unreadable when there are too many values."""
    found, values, at = [], 0, 0
    while at < len(data):
        stretch = _STRETCH.match(data, at)
        end = stretch.end() if stretch else len(data)
        bare = _STRINGS.sub(b"", data[at:end])
        brackets = bare.translate(_AS_SQUARE, _NOT_BRACKETS)
        values += bare.count(b",") + brackets.count(b"[")
        if values > limits.max_values:
            raise Unreadable("too-large", f"the JSON has more than {limits.max_values} values")
        found.append(brackets)
        at = end
    return b"".join(found)


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _as_utf8(data: bytes, notes: Notes, prefix: str) -> bytes:
    if data.startswith(UTF8_BOM):
        notes.add("bom", f"{prefix}line 1")
        data = data[len(UTF8_BOM) :]
    if looks_like_utf16(data):
        notes.add("utf16", f"{prefix}line 1")
        # without a mark, the side of the zero byte tells the order
        codec = "utf-16" if data[:2] in _UTF16_BOMS else "utf-16-be" if data[0] == 0 else "utf-16-le"
        return data.decode(codec, "replace").encode("utf-8", "replace")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        notes.add("not-utf8", f"{prefix}line {line}", repr(data[error.start : error.start + 8]))
        # senders that get this wrong write one byte per character
        return data.decode("cp1252", "replace").encode("utf-8")
    return data


def looks_like_utf16(data: bytes) -> bool:
    head = data[:2]
    return head in _UTF16_BOMS or (
        len(head) == 2 and head.count(0) == 1 and head.strip(b"\0") in b"{[ \r\n\t"
    )


def _refusal(text: str, error: json.JSONDecodeError) -> Unreadable:
    """Why it is no document: cut off when the parser wanted more at the end, otherwise no JSON."""
    body = text.rstrip(" \t\r\n\0")
    cut_off = error.pos >= len(body) or error.msg.startswith("Unterminated string")
    if body.lstrip()[:1] in ("{", "[") and cut_off:
        return Unreadable("json-truncated", f"the JSON ends in the middle, after {len(body)} characters")
    if not body.strip():
        return Unreadable("not-json", "it is empty")
    if not text[: error.pos].strip(" \t\r\n"):
        begin = excerpt(body.lstrip()[:40].replace("\n", " "))
        return Unreadable(
            "not-json", f"it is no JSON, gzip, zip or mail: it begins with {encodable(begin)!r}"
        )
    return Unreadable("not-json", f"{error.msg} (line {error.lineno}, column {error.colno})")


def _object(pairs: list[tuple[str, object]]) -> Fields:
    fields = Fields(pairs)
    fields.doubled = ()
    if len(fields) != len(pairs):
        counts = Counter(key for key, _value in pairs)
        fields.doubled = tuple(key for key, count in counts.items() if count > 1)
    return fields


def _integer(text: str) -> int | BadNumber:
    # Python refuses more than 4,300 digits, and no count has 20
    return int(text) if len(text) < 20 else BadNumber("count-out-of-range", text)


def _fraction(text: str) -> float | BadNumber:
    value = float(text)
    return value if abs(value) < 2**63 else BadNumber("count-out-of-range", text)


def _constant(text: str) -> BadNumber:
    return BadNumber("count-not-a-number", text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
    strict=False,  # a raw control character in a string is noted, not fatal
)
