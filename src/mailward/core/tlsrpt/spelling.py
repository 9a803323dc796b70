"""Names and addresses inside reports, brought into one form."""

import ipaddress
import re
from functools import lru_cache

import idna

_MAX_IDNA_INPUT = 512  # idna takes quadratic time; a name that fits into DNS is far shorter
_ADDRESS_LITERAL = re.compile(r"(?:IPv6:)?\[(?:IPv6:)?([^\]]*)\]|IPv6:(.*)", re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=4096)
def read_domain(text: str) -> tuple[str, str | None]:
    """Lower case, A-labels, no final dot; and the slug of what was otherwise. Not validated: evidence."""
    name = text.strip().lower()
    name = name.removesuffix(".")
    if not name.isascii():
        return _to_ascii(name), "domain-ulabel"
    return name, None if name == text else "domain-case-or-dot"


def _to_ascii(name: str) -> str:
    if len(name) > _MAX_IDNA_INPUT:
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return name


@lru_cache(maxsize=4096)  # the same few sending addresses come again and again; ipaddress costs 6 µs
def read_address(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The RFC 5952 text of an address, or None, and the slugs of what was otherwise."""
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


def all_in_form(addresses: list[str]) -> bool:
    """Whether read_address would return each as it is."""
    text = "\n".join(addresses) + "\n"
    if _IN_FORM.fullmatch(text) is not None and text.count("\n") == len(addresses):
        return True
    return all(read_address(address) == (address, ()) for address in addresses)


@lru_cache(maxsize=4096)
def is_domain_in_form(name: str) -> bool:
    """Whether read_domain would return the name as it is; False for some rare ones, too."""
    return _LABELS.fullmatch(name) is not None
