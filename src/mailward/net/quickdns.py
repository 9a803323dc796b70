"""The commonest lookups without the price of a DNS library: A, AAAA and TXT, asked of a resolver over UDP.

A first contact with a domain is three of them, and reading their answers with dnspython costs more than TLS and HTTPS
together. What is not plain (aliases, truncation, an error code, other records in between) is None here, and dnspython
reads it. Forged or broken packets are passed over until the deadline (RFC 5452).
"""

import asyncio
import ipaddress
import os
import re
import socket

from mailward.net.answers import MAX_RECORDS, Answer, Status

_KINDS = {"A": 1, "TXT": 16, "AAAA": 28}
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII | re.IGNORECASE)
_MAX_NAME = 253
_RECURSION_AND_AD = b"\x01\x20"  # RFC 6840 §5.7: AD in a question asks for AD in the answer
_EDNS = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"  # 1,232 bytes (DNS flag day 2020)
_HEADER = 12
_QR, _TC, _AD = 0x80, 0x02, 0x20
_SOA = 6
_NXDOMAIN = 3
_IN = b"\x00\x01"
_SAME_NAME = b"\xc0\x0c"  # a pointer to the question's name


def build_query(name: str, rdtype: str) -> bytes | None:
    kind = _KINDS.get(rdtype)
    if kind is None or len(name) > _MAX_NAME or not _PLAIN_NAME.fullmatch(name):
        return None
    labels = [label.encode("ascii") for label in name.removesuffix(".").split(".")]
    qname = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    counts = b"\x00\x01\x00\x00\x00\x00\x00\x01"
    return os.urandom(2) + _RECURSION_AND_AD + counts + qname + kind.to_bytes(2, "big") + _IN + _EDNS


async def exchange(query: bytes, address: str, port: int, seconds: float) -> bytes:
    """The response to the query. Raises TimeoutError or OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect((address, port))
        channel.send(query)
        async with asyncio.timeout(seconds):
            while True:
                wire = await loop.sock_recv(channel, 65_535)
                if answers(wire, query):
                    return wire


def answers(wire: bytes, query: bytes) -> bool:
    """Whether it is a response to this very question."""
    end = len(query) - len(_EDNS)
    return (
        len(wire) >= end
        and wire[:2] == query[:2]
        and bool(wire[2] & _QR)
        and wire[4:6] == _IN  # one question
        and wire[_HEADER:end].lower() == query[_HEADER:end].lower()
    )


def read_response(wire: bytes, query: bytes) -> Answer[str] | Answer[bytes] | None:
    """What a response to the query says, or None where it is not plain."""
    rcode = wire[3] & 0x0F
    if wire[2] & _TC or wire[2] & 0x78 or rcode not in (0, _NXDOMAIN):
        return None
    start = len(query) - len(_EDNS)
    kind = query[start - 4 : start - 2]
    authenticated = bool(wire[3] & _AD)
    count = int.from_bytes(wire[6:8], "big")
    try:
        if count == 0:
            ttl = _negative_ttl(wire, start)
            status = Status.NXDOMAIN if rcode else Status.NODATA
            nothing: Answer[str] = Answer(status, (), authenticated, ttl or 0)
            return None if ttl is None else nothing
        return _read_records(wire, start, kind, count, authenticated) if rcode == 0 else None
    except (IndexError, ValueError):
        return None


def _read_records(
    wire: bytes, at: int, kind: bytes, count: int, authenticated: bool
) -> Answer[str] | Answer[bytes] | None:
    records: dict[bytes, None] = {}  # as a set of records is one: the same record twice is one record
    ttl = 2**31
    for _ in range(count):
        if wire[at : at + 2] != _SAME_NAME or wire[at + 2 : at + 4] != kind or wire[at + 4 : at + 6] != _IN:
            return None
        ttl = min(ttl, _ttl(wire, at + 6))
        end = at + 12 + int.from_bytes(wire[at + 10 : at + 12], "big")
        if end > len(wire):
            return None
        records[wire[at + 12 : end]] = None
        at = end
    datas = list(records)[:MAX_RECORDS]
    if kind[1] == _KINDS["TXT"]:
        return Answer(Status.FOUND, tuple(_join_strings(data) for data in datas), authenticated, ttl)
    if any(len(data) != (4 if kind[1] == _KINDS["A"] else 16) for data in datas):
        return None
    return Answer(Status.FOUND, tuple(str(ipaddress.ip_address(data)) for data in datas), authenticated, ttl)


def _join_strings(data: bytes) -> bytes:
    """Raises ValueError where they are not whole."""
    parts, at = [], 0
    while at < len(data):
        end = at + 1 + data[at]
        if end > len(data):
            raise ValueError("a character-string is longer than its record")
        parts.append(data[at + 1 : end])
        at = end
    if not parts:
        raise ValueError("a TXT record without a character-string")
    return b"".join(parts)


def _negative_ttl(wire: bytes, at: int) -> int | None:
    """RFC 2308 §5, where a SOA is the first record of the authority section."""
    if int.from_bytes(wire[8:10], "big") == 0:
        return None
    while (length := wire[at]) != 0:
        if length >= 0xC0:
            at += 1
            break
        at += 1 + length
    at += 1
    if wire[at : at + 4] != _SOA.to_bytes(2, "big") + _IN:
        return None
    end = at + 10 + int.from_bytes(wire[at + 8 : at + 10], "big")
    if end > len(wire) or end - at < 10 + 22:
        return None
    return min(_ttl(wire, at + 4), int.from_bytes(wire[end - 4 : end], "big"))


def _ttl(wire: bytes, at: int) -> int:
    value = int.from_bytes(wire[at : at + 4], "big")
    return 0 if value >= 2**31 else value  # RFC 2181 §8
