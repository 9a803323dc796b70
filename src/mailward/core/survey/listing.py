"""A list of domains: one a line, or CSV with the name in the first column or behind a rank, as Tranco's lists
have it.
"""

import re

import msgspec

from mailward.core.names import MAX_NAME_LENGTH, Domain, InvalidName, parse_domain

MAX_LINE_BYTES = 4096
_SEPARATOR = re.compile(r"[,;\t]")
_HEADINGS = frozenset({"domain", "domains", "name", "host", "hostname", "rank", "position"})
_MAX_RANK_DIGITS = 15
_PLAIN = re.compile(
    r"(?:([0-9]{1,15}),)?((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)\r?\n?"
)
"""Most lines: a name in its canonical form, alone or behind a rank."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    line: int
    """Its place in the list, from 1."""
    rank: int | None
    """As the list has it."""
    domain: Domain


def read_line(line: bytes, number: int) -> Entry | None:
    """None for an empty line, a comment (`#`) and a line of headings at the top. Raises InvalidName."""
    if len(line) > MAX_LINE_BYTES:
        raise InvalidName(f"the line is longer than {MAX_LINE_BYTES} bytes")
    if (
        number > 1
        and (plain := _PLAIN.fullmatch(line.decode("latin-1")))
        and len(plain[2]) <= MAX_NAME_LENGTH
    ):
        return Entry(number, int(plain[1]) if plain[1] else None, Domain(plain[2]))
    return _read_any(line, number)


def _read_any(line: bytes, number: int) -> Entry | None:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidName("the line is not UTF-8") from error
    if not text or text.startswith("#"):
        return None
    fields = [field.strip().strip('"').strip() for field in _SEPARATOR.split(text, 2)]
    if number == 1 and any(field.lower() in _HEADINGS for field in fields):
        return None
    rank = None
    if len(fields) > 1 and fields[0].isascii() and fields[0].isdigit():
        if len(fields[0]) > _MAX_RANK_DIGITS:
            raise InvalidName(f"{fields[0][:20]}... is no rank")
        rank, name = int(fields[0]), fields[1]
    else:
        name = fields[0]
    return Entry(number, rank, parse_domain(name))
