"""Kinds of values that several tables share."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec

from mailward.core.names import parse_domain

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
MAX_DAYS = 36_500
"""A hundred years: no date that is reckoned with them is out of Python's range."""
Days = Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)]
Hours = Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS * 24)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS * 1440)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=2_000_000)]
"""PostgreSQL keeps its limits in milliseconds, as 32 bits."""
Command = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
"""A program and its arguments."""
Listen = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
"""Addresses to listen on, `address` or `address:port`; in a file one may stand without brackets around it."""


def check_each(key: str, texts: str | Iterable[str], parse: Callable[[str], object]) -> None:
    """That `parse` takes each, or the one that is there. Raises ValueError, with the key's name before what `parse`
    says.
    """
    for text in filter(None, [texts]) if isinstance(texts, str) else texts:
        try:
            parse(text)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error


def keep_each(table: msgspec.Struct, key: str, parse: Callable[[str], str]) -> None:
    """Puts what `parse` makes of each, or of the one that is there, in place of what was written: what goes out is
    ASCII, whatever script it was written in. Raises ValueError as `check_each` does.
    """
    written = getattr(table, key)
    check_each(key, written, parse)
    if written:
        kept = parse(written) if isinstance(written, str) else tuple(map(parse, written))
        msgspec.structs.force_setattr(table, key, kept)


def keep_name(table: msgspec.Struct, key: str) -> None:
    """The same for a domain name; an empty one stays. Raises ValueError."""
    keep_each(table, key, lambda text: parse_domain(text, allow_single=True))


def parse_ehlo(text: str) -> str:
    """A name, or an address in brackets (RFC 5321 section 4.1.3). Raises ValueError."""
    if not text.startswith("["):
        return parse_domain(text, allow_single=True)
    if not text.endswith("]"):
        raise ValueError(f"{text[:100]!r} is no address in brackets")
    ipaddress.ip_address(text[1:-1].removeprefix("IPv6:"))
    return text


def check_address(key: str, text: str, version: int | None = None) -> None:
    """Raises ValueError."""
    kind = f"IPv{version} address" if version else "IP address"
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"{key} is {text[:100]!r}, which is no {kind}") from error
    if version not in (None, found.version):
        raise ValueError(f"{key} is {text[:100]!r}, which is no {kind}")
