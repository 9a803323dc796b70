"""The lines of a policy: which are `name: value` by RFC 8461 section 3.2, and why the others are not."""

import re
from dataclasses import dataclass

from mailward.core.mtasts.problem import Problem

_SECTION = "RFC 8461 section 3.2"

# sts-policy-field: no white space before the colon, any after it and at the end; the value holds inner spaces
# and UTF-8 but no control character, and is not empty
_FIELD = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*"
    r"(?P<value>[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*"
)


@dataclass(frozen=True, slots=True)
class Field:
    line: int
    """Counted from 1."""
    name: str
    value: str

    @property
    def excerpt(self) -> str:
        return excerpt(self.value)


def excerpt(text: str) -> str:
    """The text in quotes, short, with control characters escaped."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def read_fields(body: bytes) -> tuple[list[Field], list[Problem]]:
    """The well-formed lines of a body of bounded size, and a problem for each of the others."""
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()  # the last line's end is optional and ends nothing more
    fields, problems = [], []
    for number, raw in enumerate(lines, 1):
        # erratum 6253 (reported): the text says CRLF, the ABNF LF or CRLF. The very last line needs no end,
        # so a CR there is a bare one.
        ended = number < len(lines) or body.endswith(b"\n")
        outcome = _read_line(number, raw.removesuffix(b"\r") if ended else raw)
        if isinstance(outcome, Field):
            fields.append(outcome)
        else:
            problems.append(outcome)
    return fields, problems


def _read_line(number: int, raw: bytes) -> Field | Problem:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8"
        return Problem("not-utf8", number, None, message, _SECTION)
    match = _FIELD.fullmatch(text)
    if match is None:
        return _explain_line(number, text)
    return Field(number, match["name"], match["value"])


def _explain_line(number: int, text: str) -> Problem:
    """Why the line is not in the grammar; what people really do comes first."""
    name, colon, value = text.partition(":")
    bare = name.strip(" \t\ufeff") or None
    code, message = "line-syntax", f"{excerpt(text)} is not 'name: value'"
    if not text.strip(" \t"):
        code, message = (
            "blank-line",
            "the line is blank, which the grammar does not allow; some senders refuse the policy",
        )
    elif text.startswith("\ufeff"):
        code, message = (
            "byte-order-mark",
            "the file begins with a byte order mark: save it as UTF-8 without one",
        )
    elif "\r" in text:
        code, message = "bare-cr", "the line has a CR that no LF follows: end lines with CRLF or LF"
    elif any(ord(char) < 0x20 or char == "\x7f" for char in text.replace("\t", " ")) or "\t" in value.strip():
        code, message = "control-character", "the line has a control character"
    elif text.lstrip(" \t").startswith(("#", "//", ";")):
        code, message = "comment", "policies have no comments"
    elif colon and name != name.strip(" \t"):
        code, message = "space-around-name", f"white space before or after the name {excerpt(name)}"
    elif colon and not value.strip(" \t"):
        code, message = "value-empty", f"{excerpt(name)} has no value"
    field = (
        bare
        if colon and bare is not None and len(bare) <= 32 and bare.isascii() and bare.isprintable()
        else None
    )
    return Problem(code, number, field, message, _SECTION)


def judge_kind(body: bytes) -> Problem | None:
    """What is often served in a policy's place, so that one problem says it and not one a line."""
    if not body:
        return Problem("empty", None, None, "the policy is empty", _SECTION)
    if b"\0" in body and _is_binary(body):
        return Problem("not-text", 1, None, _say_encoding(body), _SECTION)
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return Problem("html", 1, None, "this is an HTML page, not a policy", _SECTION)
    if start.startswith((b"{", b"[")):
        return Problem("json", 1, None, "this is JSON (a form of early drafts), not a policy", _SECTION)
    if start.startswith(b"v=stsv1"):
        return Problem(
            "txt-record", 1, None, "this is the text of the _mta-sts TXT record, not a policy", _SECTION
        )
    if b"\n" not in body and b"\\n" in body:
        return Problem(
            "literal-newline",
            1,
            None,
            r"the policy has the two characters \n where lines should end",
            _SECTION,
        )
    return None


def _is_binary(body: bytes) -> bool:
    """Of a body with NUL: whether it is more than a text with a bad character."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return body.count(0) * 20 > len(body)


def _say_encoding(body: bytes) -> str:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or body[1::2].count(0) * 2 > len(body[1::2]):
        return "the file is UTF-16: save it as UTF-8 without a byte order mark"
    return "this is no text, but binary data"
