"""Domain names as the mail RFCs use them: LDH labels, A-labels for everything else, no final dot."""

import ipaddress
import re
from typing import NewType

import idna

Domain = NewType("Domain", str)
"""A-label, lower case, no final dot."""

MAX_NAME_LENGTH = 253  # RFC 1035 §2.3.4: 255 octets on the wire
MAX_LABEL_LENGTH = 63
_MAX_INPUT = 1024  # a U-label may be longer than its A-label; beyond this nothing can fit
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)


class InvalidName(ValueError):
    """The text is no domain name; the message is a sentence that names the label and the reason."""


def parse_domain(text: str, *, allow_single: bool = False) -> Domain:
    """The canonical form of a name that a person or a report wrote: U-labels become A-labels.

    One final dot is dropped. Two labels at least, unless `allow_single`; no addresses. Raises InvalidName.
    """
    if len(text) > _MAX_INPUT:
        raise InvalidName(f"a name has at most {MAX_NAME_LENGTH} characters")
    name = text.removesuffix(".")
    if not name:
        raise InvalidName("the name is empty")
    if not name.isascii():
        name = _to_ascii(name)
    check_ldh(name)
    if is_address(name) or name.rpartition(".")[2].isdigit():
        raise InvalidName(f"{name} is an address, not a name")
    if "." not in name and not allow_single:
        raise InvalidName(f"{name} has one label only")
    return Domain(name.lower())


def parse_mx_pattern(text: str) -> str:
    """An `mx` value of a policy as its owner wrote it (RFC 8461 section 3.2): a name, or `*.` and a name.

    Raises InvalidName. To judge a value that somebody else serves, see core.mtasts.policy.
    """
    wildcard = text.startswith("*.")
    return ("*." if wildcard else "") + parse_domain(text[2:] if wildcard else text, allow_single=wildcard)


def check_ldh(name: str) -> None:
    """Raises InvalidName for what RFC 5321 section 4.1.2 does not call a Domain, or what does not fit into
    DNS.
    """
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidName(f"a name has at most {MAX_NAME_LENGTH} characters, this has {len(name)}")
    for label in name.split("."):
        if not label:
            raise InvalidName("the name has an empty label")
        if len(label) > MAX_LABEL_LENGTH:
            raise InvalidName(
                f"a label has at most {MAX_LABEL_LENGTH} characters, {label[:20]}... has {len(label)}"
            )
        if not _LABEL.fullmatch(label):
            raise InvalidName(
                f"{label!r} is no label: only letters, digits, inner hyphens; other scripts as A-label (xn--)"
            )


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address, bare or in brackets."""
    bare = text.removeprefix("[").removesuffix("]")
    if ":" not in bare and not bare[-1:].isdigit():
        return False  # `ipaddress` takes some microseconds to say so, by an exception
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True


def matches_mx(pattern: str, host: str) -> bool:
    """Whether the `mx` pattern of a policy covers this MX host name."""
    pattern, host = pattern.lower(), host.lower().removesuffix(".")
    if is_address(host):
        return False  # RFC 6125 §6.4: only names are compared as DNS-ID
    if not pattern.startswith("*."):
        return bool(pattern) and pattern == host
    # RFC 8461 §4.1: the wildcard is the whole left-most label, and exactly one label
    first, dot, rest = host.partition(".")
    return bool(first) and first != "*" and dot == "." and rest == pattern[2:]


def _to_ascii(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
    except idna.IDNAError as error:
        raise InvalidName(f"{name[:60]!r} is no internationalised name: {error}"[:200]) from error
