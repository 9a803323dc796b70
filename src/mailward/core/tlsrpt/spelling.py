"""Names and addresses inside reports, brought into one form."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

import idna

_MAX_IDNA_INPUT = 512  # idna takes quadratic time; a name that fits into DNS is far shorter
_MAX_REMEMBERED = 255  # characters of a text that a cache keeps: strangers fill it
_MAX_KNOWN = 16_384
_ADDRESS_LITERAL = re.compile(r"(?:IPv6:)?\[(?:IPv6:)?([^\]]*)\]|IPv6:(.*)", re.IGNORECASE | re.DOTALL)


def read_domain(text: str) -> tuple[str, str | None]:
    """Lower case, A-labels, no final dot; and the slug of what was otherwise. Not validated: evidence."""
    return _read_short_domain(text) if len(text) <= _MAX_REMEMBERED else _read_domain(text)


def _read_domain(text: str) -> tuple[str, str | None]:
    name = _fold(text)
    if not name.isascii():
        return _to_ascii(name), "domain-ulabel"
    return name, None if name == text else "domain-case-or-dot"


def keep_domain(text: str) -> tuple[str, str | None]:
    """As read_domain for names in ASCII; others stay in their script."""
    return read_domain(text) if text.isascii() else (_fold(text), "domain-ulabel")


def _fold(text: str) -> str:
    return text.strip().lower().removesuffix(".")


_read_short_domain = lru_cache(maxsize=4096)(_read_domain)


def _to_ascii(name: str) -> str:
    if len(name) > _MAX_IDNA_INPUT:
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return name


def read_address(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The RFC 5952 text of an address, or None, and the slugs of what was otherwise."""
    return _read_address(text) if len(text) <= _MAX_REMEMBERED else (None, ("ip-not-an-address",))


@lru_cache(maxsize=4096)  # ipaddress costs 6 µs
def _read_address(text: str) -> tuple[str | None, tuple[str, ...]]:
    slugs = []
    text = text.strip()
    if literal := _ADDRESS_LITERAL.fullmatch(text):
        slugs.append("ip-bracketed")
        text = literal[1] if literal[1] is not None else literal[2]
    if "%" in text:
        text, _, _zone = text.partition("%")
        slugs.append("ip-zone")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None, ("ip-not-an-address",)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        slugs.append("ip-v4-mapped")
        address = address.ipv4_mapped
    return str(address), tuple(slugs)


_OCTET = r"(?:1[0-9]{0,2}|2(?:[0-4][0-9]?|5[0-5]?|[6-9])?|[3-9][0-9]?|0)"
_GROUP = r"[1-9a-f][0-9a-f]{0,3}+"
# Without zero groups beside a `::` there is no shorter text. These are the usual lengths; ipaddress knows all.
_IPV6 = rf"{_GROUP}(?::{_GROUP}){{0,4}}+::{_GROUP}|{_GROUP}(?::{_GROUP}){{7}}"
_IN_FORM = re.compile(rf"(?:(?:{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}|{_IPV6})\n)*+", re.ASCII)
_LABELS = re.compile(r"[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+", re.ASCII)


# A sender has some hundred addresses, and writes about the same hosts every day. A set of what has been seen
# in form takes a fifth of the time of the patterns. None, where a report says nothing, is in form.
_addresses_in_form: set[str | None] = {None}
_domains_in_form: set[str | None] = {None}


def are_addresses_in_form(addresses: Sequence[str | None]) -> bool:
    """Whether read_address would return each as it is."""
    if _addresses_in_form.issuperset(addresses):
        return True
    given = [address for address in addresses if address is not None]
    text = "\n".join(given) + "\n"
    if _IN_FORM.fullmatch(text) is None or text.count("\n") != len(given):
        return all(read_address(address) == (address, ()) for address in given)
    _remember(_addresses_in_form, given)
    return True


def are_domains_in_form(names: Sequence[str | None]) -> bool:
    """Whether read_domain would return each as it is; False for some rare ones, too."""
    if _domains_in_form.issuperset(names):
        return True
    given = [name for name in names if name is not None]
    if not all(map(_LABELS.fullmatch, given)):
        return False
    _remember(_domains_in_form, [name for name in given if len(name) <= _MAX_REMEMBERED])
    return True


def _remember(known: set[str | None], texts: list[str]) -> None:
    if len(known) > _MAX_KNOWN:
        known.clear()
        known.add(None)
    known.update(texts)
