"""Names and numbers of DNS messages (RFC 1035 section 4)."""

from enum import IntEnum

CLASS_IN = 1
MAX_NAME = 255
MAX_LABEL = 63
HEADER = 12


class Type(IntEnum):
    """RFC 1035 section 3.2.2 and the registry of DNS parameters."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    HINFO = 13
    TXT = 16
    AAAA = 28
    OPT = 41
    TSIG = 250
    IXFR = 251
    AXFR = 252
    ANY = 255
    ALIAS = 65_536
    """None of the registry, and beyond what a question can hold: what a CNAME answers to every other type."""


class Rcode(IntEnum):
    """RFC 1035 section 4.1.1, RFC 2136 section 2.2, RFC 6891 section 9."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    NOTAUTH = 9
    BADVERS = 16


def encode_name(name: str) -> bytes:
    """Wire form, lower case, uncompressed. Raises ValueError."""
    labels = name.removesuffix(".").lower().encode("ascii").split(b".") if name not in ("", ".") else []
    if any(not 0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError(f"{name} has an empty or too long label")
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(wire) > MAX_NAME:
        raise ValueError(f"{name} is longer than {MAX_NAME} octets")
    return wire


def encode_label(label: str) -> bytes:
    """The beginning of a name in wire form, lower case. Raises ValueError."""
    octets = label.lower().encode("ascii")
    if not 0 < len(octets) <= MAX_LABEL:
        raise ValueError(f"{label} is an empty or too long label")
    return bytes((len(octets),)) + octets


def decode_name(wire: bytes) -> str:
    """For people: `a.example.`, with anything unusual escaped."""
    labels, at = [], 0
    while (length := wire[at]) != 0:
        label = wire[at + 1 : at + 1 + length]
        labels.append("".join(chr(c) if 32 < c < 127 and c not in b'."\\' else f"\\{c:03}" for c in label))
        at += length + 1
    return ".".join(labels) + "."


def is_below(name: bytes, apex: bytes) -> bool:
    """Whether a name is the apex or below it, both in wire form and lower case."""
    at = 0
    while len(name) - at > len(apex):
        at += name[at] + 1
    return name[at:] == apex


def is_newer_serial(one: int, other: int) -> bool:
    """Whether a secondary that has `other` would take `one` (RFC 1982 section 3.2)."""
    return 0 < (one - other) % 2**32 < 2**31
