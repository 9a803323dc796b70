"""A mail as DKIM sees it: header fields with their exact bytes, the body, and the two canonical forms."""

import re
from dataclasses import dataclass
from typing import NamedTuple

MAX_HEADER_BYTES = 256 * 1024
MAX_FIELDS = 500

_BARE_LF = re.compile(rb"(?<!\r)\n")
_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_WSP = re.compile(rb"[ \t]+")
_EMPTY_LINES_REVERSED = re.compile(rb"(?:\n\r)*")
_ATOM_ADDRESS = re.compile(r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_ADDRESS_DOMAIN = re.compile(r"@([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)", re.ASCII)


class Field(NamedTuple):  # made in a third of a dataclass's time: each mail has dozens
    name: bytes
    """Lower case."""
    raw_name: bytes
    """As written, with white space before the colon if there is any."""
    value: bytes
    """What follows the colon, folded as it came, without the final CRLF."""


@dataclass(frozen=True, slots=True)
class Message:
    fields: tuple[Field, ...]
    body: bytes

    def all(self, name: bytes) -> list[Field]:
        return [field for field in self.fields if field.name == name]


class Malformed(ValueError):
    """The bytes have no header that can be judged; the text is one sentence."""


def split_message(raw: bytes) -> Message:
    """Header fields and body, line ends made CRLF. Raises Malformed."""
    start = 0
    if raw.startswith(b"From "):  # the envelope line of an mbox is no header field
        start = raw.find(b"\n") + 1
    is_crlf = raw.count(b"\n") == raw.count(b"\r\n")
    head_end, body_start = _find_body(raw, start, is_crlf=is_crlf)
    if head_end - start > MAX_HEADER_BYTES:
        raise Malformed(f"the header has more than {MAX_HEADER_BYTES} bytes")
    fields: list[Field] = []
    header, body = raw[start:head_end], raw[body_start:]
    for lines in _unfolded(header if is_crlf else _crlf(header)):
        match = _FIELD.match(lines)
        if match is None:
            raise Malformed("the header has a line that is no field")
        name, value = match.groups()
        fields.append(Field(name.lower(), lines[: lines.index(b":")], value))
        if len(fields) > MAX_FIELDS:
            raise Malformed(f"the header has more than {MAX_FIELDS} fields")
    return Message(tuple(fields), body if is_crlf else _crlf(body))


def _find_body(raw: bytes, start: int, *, is_crlf: bool) -> tuple[int, int]:
    """Where the header ends and the body begins."""
    if raw.startswith((b"\r\n", b"\n"), start):
        raise Malformed("the mail has no header")
    # a header line may end in a bare LF in a file that an editor has saved
    marks = (b"\r\n\r\n",) if is_crlf else (b"\r\n\r\n", b"\n\n", b"\n\r\n")
    ends = [(raw.find(mark, start), len(mark)) for mark in marks]
    found = [(at, at + length) for at, length in ends if at >= 0]
    return min(found) if found else (len(raw), len(raw))


def _unfolded(header: bytes) -> list[bytes]:
    """The fields with their continuation lines."""
    fields: list[list[bytes]] = []
    for line in header.split(b"\r\n"):
        if line.startswith((b" ", b"\t")):
            if not fields:
                raise Malformed("the header begins with a continuation line")
            fields[-1].append(line)
        elif line:
            fields.append([line])
    return [b"\r\n".join(lines) for lines in fields]


def _crlf(data: bytes) -> bytes:
    if data.count(b"\n") == data.count(b"\r\n"):
        return data
    return _BARE_LF.sub(b"\r\n", data)


def relaxed_field(field: Field) -> bytes:
    """RFC 6376 §3.4.2, without the final CRLF."""
    value = field.value.replace(b"\r\n", b"")
    if b"  " in value or b"\t" in value:
        value = _WSP.sub(b" ", value)
    return field.name + b":" + value.strip(b" ")


def simple_field(field: Field) -> bytes:
    """RFC 6376 §3.4.1, without the final CRLF."""
    return field.raw_name + b":" + field.value


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4. Linear in the size of the body whatever it holds."""
    if b"  " in body or b"\t" in body or b" \r\n" in body or body.endswith(b" "):
        body = _WSP.sub(b" ", body).replace(b" \r\n", b"\r\n").removesuffix(b" ")
    body = _without_empty_end(body)
    return body + b"\r\n" if body else b""


def simple_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.3."""
    return _without_empty_end(body) + b"\r\n"


def _without_empty_end(body: bytes) -> bytes:
    tail = body[len(body.rstrip(b"\r\n")) :]
    match = _EMPTY_LINES_REVERSED.match(tail[::-1])
    return body[: len(body) - match.end()] if match and match.end() else body


def from_domain(message: Message | bytes) -> str | None:
    """The domain of the one address in the one From field; None where there are none or several.

    Two From fields, or two addresses in it, are a forger's way to let one reader see what another verified.
    """
    if isinstance(message, bytes):
        try:
            message = split_message(message)
        except Malformed:
            return None
    fields = message.all(b"from")
    if len(fields) != 1 or len(fields[0].value) > 2000:
        return None
    text = _without_quoted(fields[0].value.decode("latin-1"))
    domains = _ADDRESS_DOMAIN.findall(text)
    if len(domains) != 1 or text.count("@") != 1:
        return None
    return str(domains[0]).lower()


def only_address(message: Message, name: bytes) -> str:
    """The one address in the one field of this name, in lower case; "" where there are none or several."""
    fields = message.all(name)
    if len(fields) != 1 or len(fields[0].value) > 2000:
        return ""
    text = _without_quoted(fields[0].value.decode("latin-1"))
    match = _ATOM_ADDRESS.search(text)
    return match[0].lower() if match and text.count("@") == 1 else ""


def _without_quoted(text: str) -> str:
    """The text without quoted strings and comments, which may hold anything, a second address too."""
    kept: list[str] = []
    depth, quoted, skip = 0, False, False
    for character in text:
        if skip:
            skip = False
        elif character == "\\" and (quoted or depth):
            skip = True
        elif quoted:
            quoted = character != '"'
        elif character == '"' and not depth:
            quoted = True
            kept.append("q")  # a quoted local part leaves something before its @
        elif character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(character)
    return "".join(kept)
