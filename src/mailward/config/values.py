"""Kinds of values that several tables share."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Listen = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
"""Addresses to listen on, `address` or `address:port`; in a file one may stand without brackets around it."""


def check_each(key: str, texts: Iterable[str], parse: Callable[[str], object]) -> None:
    """That `parse` takes each. Raises ValueError, with the key's name before what `parse` says."""
    for text in texts:
        try:
            parse(text)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error


def check_address(key: str, text: str, version: int | None = None) -> None:
    """Raises ValueError."""
    kind = f"IPv{version} address" if version else "IP address"
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"{key} is {text[:100]!r}, which is no {kind}") from error
    if version not in (None, found.version):
        raise ValueError(f"{key} is {text[:100]!r}, which is no {kind}")
