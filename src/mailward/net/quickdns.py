"""The commonest lookups without the price of a DNS library: A, AAAA, MX, TLSA and TXT, over UDP.

A first contact with a domain is three to seven of them, and reading their answers with dnspython costs more than TLS
and HTTPS together. What is not plain (aliases, truncation, an error code, other records in between) is None here, and
dnspython reads it. Forged or broken packets are passed over until the deadline (RFC 5452).
"""

import asyncio
import functools
import ipaddress
import os
import re
import socket
from typing import Any

from mailward.net.answers import MAX_RECORDS, Answer, Status

_KINDS = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII | re.IGNORECASE)
_MAX_NAME = 253
_RECURSION_AND_AD = b"\x01\x20"  # RFC 6840 §5.7: AD in a question asks for AD in the answer
_EDNS = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"  # 1,232 bytes (DNS flag day 2020)
_HEADER = 12
_HEAD = _RECURSION_AND_AD + b"\x00\x01\x00\x00\x00\x00\x00\x01"  # one question, and EDNS
_LENGTHS = [bytes([length]) for length in range(64)]
_MAX_SHARING = 64  # questions under way through one socket
_MAX_LABELS = 127
_MAX_RESPONSE = 4096  # nobody answers with more to a question for 1,232 bytes
_QR, _TC, _AD = 0x80, 0x02, 0x20
_SOA = 6
_NXDOMAIN = 3
_IN = b"\x00\x01"
_ENDS = {name: b"\0" + kind.to_bytes(2, "big") + _IN for name, kind in _KINDS.items()}
_SAME_NAME = b"\xc0\x0c"  # a pointer to the question's name


def build_query(name: str, rdtype: str) -> bytes | None:
    question = build_question(name, rdtype)
    return None if question is None else complete(os.urandom(2), question)


def build_question(name: str, rdtype: str) -> bytes | None:
    """The question section of a query, which the response repeats; None for what is not plain."""
    labels, end = encode_labels(name), _ENDS.get(rdtype)
    return None if labels is None or end is None else labels + end


def encode_labels(name: str) -> bytes | None:
    """As messages have them, without the root behind; None for what is not plain."""
    if len(name) > _MAX_NAME or not _PLAIN_NAME.fullmatch(name):
        return None
    labels = name.removesuffix(".").encode("ascii").split(b".")
    return b"".join([_LENGTHS[len(label)] + label for label in labels])


def end_question(rdtype: str) -> bytes:
    """What follows the labels in a question section."""
    return _ENDS[rdtype]


def complete(number: bytes, question: bytes) -> bytes:
    """The query: `number` is its id, two octets that nobody can guess."""
    return b"%b%b%b%b" % (number, _HEAD, question, _EDNS)


class QuickDns:
    """Asks resolvers. Questions that are under way at one time share a socket where the resolver is on loopback;
    elsewhere each has its own, with a port that a forger has to guess (RFC 5452 section 9.2).
    """

    def __init__(self) -> None:
        self._channels: dict[tuple[str, int], list[Channel]] = {}
        """Those with questions under way: none outlives its last question."""

    async def exchange(self, query: bytes, address: str, port: int, seconds: float) -> bytes:
        """The response to the query. Raises TimeoutError or OSError."""
        loop = asyncio.get_running_loop()
        place = address, port
        channels = self._channels.setdefault(place, []) if _is_loopback(address) else []
        channel = next((one for one in channels if one.has_room_for(query, loop)), None)
        if channel is None:
            channel = Channel(place, loop)
            channels.append(channel)
        timer = None
        try:
            future = channel.ask(query)
            timer = loop.call_later(seconds, _give_up, future)
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            channel.forget(query)
            if not channel.questions:
                channel.close()
                channels.remove(channel)


class Channel:
    """A socket, and the questions that were sent through it."""

    def __init__(self, place: tuple[str, int], loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError."""
        self.questions: dict[bytes, tuple[bytes, asyncio.Future[bytes]]] = {}
        """By their ids."""
        self.asked = 0
        self._loop = loop
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(place)
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket, self._read)

    def has_room_for(self, query: bytes, loop: asyncio.AbstractEventLoop) -> bool:
        # as many answers as the socket's buffer surely holds
        return len(self.questions) < _MAX_SHARING and query[:2] not in self.questions and loop is self._loop

    def ask(self, query: bytes) -> "asyncio.Future[bytes]":
        """Raises OSError. Whoever asks ends the waiting, and forgets the query then."""
        future = self._loop.create_future()
        self.questions[query[:2]] = query, future
        self.asked += 1
        self._socket.send(query)
        return future

    def forget(self, query: bytes) -> None:
        self.questions.pop(query[:2], None)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_MAX_SHARING):
            try:
                wire = self._socket.recv(_MAX_RESPONSE)
            except BlockingIOError:
                return
            except OSError as error:  # the resolver's port is closed
                for _, future in self.questions.values():
                    if not future.done():
                        future.set_exception(error)
                return
            found = self.questions.get(wire[:2])
            if found is not None and not found[1].done() and answers(wire, found[0]):
                found[1].set_result(wire)


def _give_up(future: "asyncio.Future[bytes]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


@functools.lru_cache(maxsize=16)
def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


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
    return read_message(wire, len(query) - len(_EDNS))


def read_message(wire: bytes, start: int) -> Answer[str] | Answer[bytes] | None:
    """The same of a response whose question, the one that was asked, ends at `start`."""
    rcode = wire[3] & 0x0F
    if wire[2] & _TC or wire[2] & 0x78 or rcode not in (0, _NXDOMAIN):
        return None
    kind = wire[start - 4 : start - 2]
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


def _make_negatives() -> dict[bytes, Answer[Any]]:
    made: dict[bytes, Answer[Any]] = {}  # Any: there are no records
    for rcode, status in ((0, Status.NODATA), (_NXDOMAIN, Status.NXDOMAIN)):
        answers_of: list[Answer[Any]] = [Answer(status, (), authenticated) for authenticated in (False, True)]
        for first in (0x80, 0x81, 0x84, 0x85):  # QR, with AA and RD or without
            for second in range(0, 0x100, 0x10):
                answer = answers_of[bool(second & _AD)]
                made[bytes([first, second | rcode]) + _IN + b"\0\0"] = answer
    return made


NEGATIVES = _make_negatives()
"""What octets 2 to 7 of most negative responses say (flags, one question, no answer); their TTL is left out."""


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
        if kind[1] == _KINDS["MX"]:
            records[_mail_exchanger(wire, at + 12, end)] = None
        else:
            records[wire[at + 12 : end]] = None
        at = end
    datas = list(records)[:MAX_RECORDS]
    if kind[1] == _KINDS["TXT"]:
        return Answer(Status.FOUND, tuple(_join_strings(data) for data in datas), authenticated, ttl)
    return Answer(Status.FOUND, tuple(_present(kind[1], data) for data in datas), authenticated, ttl)


def _present(kind: int, data: bytes) -> str:
    """As zone files have it. Raises ValueError for what is none of this kind."""
    if kind == _KINDS["MX"]:
        return data.decode("ascii")
    if kind == _KINDS["TLSA"]:
        if len(data) < 3:
            return f"\\# {len(data)} {data.hex()}"  # RFC 3597 §5; it is there, and of no use
        return f"{data[0]} {data[1]} {data[2]} {data[3:].hex(' ', -64)}"  # in groups, as dnspython writes it
    return socket.inet_ntop(socket.AF_INET if kind == _KINDS["A"] else socket.AF_INET6, data)


def _mail_exchanger(wire: bytes, at: int, end: int) -> bytes:
    """`10 mx.example.com`, whose name may be compressed. Raises ValueError where it is not plain."""
    if end - at < 3:
        raise ValueError("an MX record without a name")
    labels: list[bytes] = []
    position, limit = at + 2, end
    while (length := wire[position]) != 0:
        if length >= 0xC0:
            target = int.from_bytes(wire[position : position + 2], "big") & 0x3FFF
            if position + 2 > limit or target >= position or len(labels) > _MAX_LABELS:
                raise ValueError("a pointer that does not lead back")
            if limit == end and position + 2 != end:
                raise ValueError("an MX record with more behind its name")
            position, limit = target, position
            continue
        if position + 1 + length >= limit:
            raise ValueError("a name that does not end in its record")
        label = wire[position + 1 : position + 1 + length].lower()
        if b"." in label:
            raise ValueError("a label with a dot")
        labels.append(label)
        position += 1 + length
    if limit == end and position + 1 != end:
        raise ValueError("an MX record with more behind its name")
    name = b".".join(labels) or b"."
    if labels and (len(name) > _MAX_NAME or not _PLAIN_NAME.fullmatch(name.decode("ascii"))):
        raise ValueError("a name that is not plain")
    return b"%d %b" % (int.from_bytes(wire[at : at + 2], "big"), name)


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
