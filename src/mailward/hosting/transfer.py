"""What the fast path leaves: zone transfers, signed questions (RFC 5936, RFC 1995, RFC 8945)."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig

from mailward.core.dns.answer import Reply, answer
from mailward.core.dns.nameserver import KeyInvalid, parse_transfer_key
from mailward.core.dns.wire import HEADER, Rcode, Type
from mailward.core.dns.zone import Authority, Zone

MESSAGE_BYTES = 16_000
"""So much of a zone in one message: below the 16 KiB to which pointers reach, though none is needed."""
_MAC_ROOM = 400
_FUDGE_SECONDS = 300
_MAX_QUERY = 4096
_MAX_LABELS = 32
_EXPECTED = ((), (Type.SOA,), (Type.OPT, Type.TSIG))
"""By section: the asker's SOA is before an IXFR (RFC 1995 section 3)."""

_BADSIG, _BADKEY, _BADTIME = 16, 17, 18
TSIG_ERRORS = {_BADSIG: "BADSIG", _BADKEY: "BADKEY", _BADTIME: "BADTIME"}
"""RFC 8945 section 3."""

Keys = Mapping[dns.name.Name, dns.tsig.Key]


def parse_keys(texts: Iterable[str]) -> Keys:
    """`name:algorithm:secret`, the secret in base64. Raises KeyInvalid."""
    keys = {}
    for text in texts:
        read = parse_transfer_key(text)
        try:
            key = dns.tsig.Key(read.name, read.secret, read.algorithm + ".")
        except dns.exception.DNSException as error:
            raise KeyInvalid(f"{read.name[:100]!r} is no name of a key") from error
        keys[key.name] = key
    return keys


@dataclass(frozen=True, slots=True)
class Signature:
    """How replies to a signed question are signed."""

    key: dns.tsig.Key
    request_mac: bytes


@dataclass(frozen=True, slots=True)
class Question:
    id: int
    type: int
    name: bytes
    plain: bytes
    """The question without its signature."""
    signature: Signature | None
    serial: int | None
    """What an IXFR asker has."""


class Refused(NamedTuple):
    """A question whose signature does not hold."""

    reply: Reply
    reason: str


def read_question(query: bytes, keys: Keys, now: int) -> Question | Refused | Reply | None:
    """A question that the fast path called unusual, with a whole header; a Reply where it must be refused. Signatures
    are checked. `now` in Unix seconds.
    """
    if len(query) > _MAX_QUERY:
        return None
    last = _find_last(query)
    if last is None:
        return _refuse(query, Rcode.FORMERR)
    try:
        message = dns.message.from_wire(query, keyring=False)
    except (dns.exception.DNSException, ValueError, struct.error):
        return _refuse(query, Rcode.FORMERR)
    if len(message.question) != 1 or message.opcode() != dns.opcode.QUERY:
        return _refuse(query, Rcode.NOTIMP)
    question = message.question[0]
    signature = None
    if message.tsig is not None:
        key = keys.get(message.tsig.name)
        if error := _find_fault(query, last, message.tsig, key, now):
            return _refuse_signature(query, message.tsig, key, error, now)
        if key is not None:
            signature = Signature(key, message.mac or b"")
    serial = next(
        (rdata.serial for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA for rdata in rrset),
        None,
    )
    name = question.name.canonicalize().to_wire()
    assert name is not None  # noqa: S101 - to_wire returns None only where it writes into a file
    return Question(message.id, int(question.rdtype), name, _without_tsig(message), signature, serial)


def _find_last(query: bytes) -> int | None:
    """Where its last record begins, which is the signature of one that is signed.

    None where there is anything in it but what a secondary sends, with names of few labels: pointers give a record a
    long name for two octets, and a question of 300 such records takes most of a second to read.
    """
    counts = struct.unpack("!HHH", query[6:HEADER])
    if any(count > len(expected) for count, expected in zip(counts, _EXPECTED, strict=True)):
        return None
    try:
        last = at = _skip_name(query, HEADER) + 4
        for count, expected in zip(counts, _EXPECTED, strict=True):
            for _ in range(count):
                last, at = at, _skip_name(query, at)
                kind, _, _, length = struct.unpack_from("!HHIH", query, at)
                at += 10
                if kind not in expected:
                    return None
                if kind == Type.SOA:
                    _skip_name(query, _skip_name(query, at))
                at += length
    except (IndexError, struct.error):
        return None
    return last


def _skip_name(query: bytes, at: int) -> int:
    """Where it ends. Raises IndexError, for more labels than any name of ours has too."""
    for _ in range(_MAX_LABELS):
        if (length := query[at]) == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        at += length + 1
    raise IndexError


def _find_fault(query: bytes, start: int, tsig: dns.rrset.RRset, key: dns.tsig.Key | None, now: int) -> int:
    """The TSIG error of a signature that begins at `start`; 0: there is none."""
    if key is None or key.algorithm != tsig[0].algorithm:
        return _BADKEY
    try:
        dns.tsig.validate(query, key, tsig.name, tsig[0], now, b"", start)  # type: ignore[no-untyped-call]
    except dns.tsig.BadTime:  # the rest of it holds
        return _BADTIME
    except dns.exception.DNSException:
        return _BADSIG
    return 0


def _refuse_signature(
    query: bytes, tsig: dns.rrset.RRset, key: dns.tsig.Key | None, error: int, now: int
) -> Refused:
    """RFC 8945 section 5.2: says what is wrong, so that the secondary's log does. Only BADTIME is signed."""
    end = _skip_name(query, HEADER) + 4
    head = query[:2] + struct.pack("!HHHHH", 0x8000 | Rcode.NOTAUTH, 1, 0, 0, 0)
    wire, given = head + query[HEADER:end], tsig[0]
    reason = f"{TSIG_ERRORS[error]} of {tsig.name.to_text(omit_final_dot=True)}"
    if error == _BADTIME and key is not None:
        # with the asker's time, and ours beside it
        signer = _Signer(Signature(key, given.mac), given.time_signed, error, now.to_bytes(6, "big"))
        return Refused(Reply(signer.sign(wire, last=True), b"", HEADER), reason)
    wire = _append(wire, tsig.name, given.replace(mac=b"", error=error, other=b""))
    # a pointer makes a long name of a short one: whoever forges the asker's address gains nothing by them
    reply = Reply(wire, b"", HEADER) if len(wire) <= len(query) else _refuse(query, Rcode.NOTAUTH)
    return Refused(reply, reason)


def answer_signed(question: Question, authority: Authority, now: int, *, udp: bool) -> bytes | None:
    """The ordinary answer to a signed question, signed. `now` in Unix seconds."""
    reply = answer(question.plain, authority, udp=udp)
    if not isinstance(reply, Reply):
        return None
    if question.signature is None:
        return reply.wire
    return _Signer(question.signature, now).sign(reply.wire, last=True)


def answer_ixfr_by_udp(question: Question, zone: Zone, now: int) -> bytes:
    """The SOA alone: come by TCP (RFC 1995 section 2)."""
    soa = zone.apex + zone.nodes[zone.apex][Type.SOA][4:]
    return next(_messages(question, (soa,), now))


def transfer(question: Question, zone: Zone, now: int) -> Iterator[bytes]:
    """The whole zone as messages; to an IXFR asker that has the newest serial, the SOA alone."""
    if question.type == Type.IXFR and question.serial == zone.serial:
        yield answer_ixfr_by_udp(question, zone, now)
        return
    yield from _messages(question, zone.records(), now)


def refuse_transfer(question: Question, now: int) -> bytes:
    head = struct.pack("!HHHHHH", question.id, 0x8000 | Rcode.REFUSED, 1, 0, 0, 0)
    reply = head + question.plain[HEADER : HEADER + len(question.name) + 4]
    return _Signer(question.signature, now).sign(reply, last=True) if question.signature else reply


def _messages(question: Question, records: Iterable[bytes], now: int) -> Iterator[bytes]:
    signer = _Signer(question.signature, now) if question.signature else None
    asked = question.name + struct.pack("!HH", question.type, 1)
    gathered: list[bytes] = []
    size, first = 0, True
    for record in records:
        if size + len(record) + len(asked) + _MAC_ROOM > MESSAGE_BYTES and gathered:
            yield _message(question.id, asked if first else b"", gathered, signer, last=False)
            gathered, size, first = [], 0, False
        gathered.append(record)
        size += len(record)
    yield _message(question.id, asked if first else b"", gathered, signer, last=True)


def _message(
    number: int, asked: bytes, records: list[bytes], signer: "_Signer | None", *, last: bool
) -> bytes:
    head = struct.pack("!HHHHHH", number, 0x8400, 1 if asked else 0, len(records), 0, 0)
    wire = head + asked + b"".join(records)
    return wire if signer is None else signer.sign(wire, last=last)


class _Signer:
    """Signs the messages of one reply, each over the one before (RFC 8945 section 5.3.1)."""

    def __init__(self, signature: Signature, now: int, error: int = 0, other: bytes = b"") -> None:
        self._key = signature.key
        self._mac = signature.request_mac
        self._context: object = None
        self._now = now
        self._error, self._other = error, other

    def sign(self, wire: bytes, *, last: bool) -> bytes:
        blank = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]  # dnspython has no types here
            "ANY",
            "TSIG",
            self._key.algorithm,
            self._now,
            _FUDGE_SECONDS,
            b"",
            int.from_bytes(wire[:2], "big"),
            self._error,
            self._other,
        )
        many = not last or self._context is not None
        rdata, self._context = dns.tsig.sign(  # type: ignore[no-untyped-call]  # as above
            wire, self._key, blank, self._now, self._mac, self._context, many
        )
        return _append(wire, self._key.name, rdata)


def _append(wire: bytes, owner: dns.name.Name, tsig: dns.rdtypes.ANY.TSIG.TSIG) -> bytes:
    data = tsig.to_wire() or b""
    count = (int.from_bytes(wire[10:12], "big") + 1).to_bytes(2, "big")
    record = (owner.to_wire() or b"") + struct.pack("!HHIH", Type.TSIG, 255, 0, len(data)) + data
    return wire[:10] + count + wire[HEADER:] + record


def _refuse(query: bytes, rcode: Rcode) -> Reply:
    """A bare header with the id of the question: what could not be read is not repeated."""
    return Reply(query[:2] + bytes((0x80 | query[2] & 0x79, rcode)) + bytes(8), b"", HEADER)


def _without_tsig(message: dns.message.Message) -> bytes:
    """The question as the fast path reads it."""
    head = struct.pack("!HHHHHH", message.id, message.flags & 0x0110, 1, 0, 0, 1 if message.edns >= 0 else 0)
    question = message.question[0]
    asked = (question.name.to_wire() or b"") + struct.pack("!HH", question.rdtype, question.rdclass)
    if message.edns < 0:
        return head + asked
    flags = 0x80 if message.ednsflags & dns.flags.DO else 0
    return (
        head
        + asked
        + b"\0\0\x29"
        + message.payload.to_bytes(2, "big")
        + bytes([0, message.edns, flags, 0, 0, 0])
    )


def make_notify(apex: bytes, number: int, key: dns.tsig.Key | None, now: int) -> bytes:
    """Tells a secondary that the zone has changed (RFC 1996)."""
    head = struct.pack("!HHHHHH", number, 0x2400, 1, 0, 0, 0)
    wire = head + apex + struct.pack("!HH", Type.SOA, 1)
    return wire if key is None else _Signer(Signature(key, b""), now).sign(wire, last=True)
