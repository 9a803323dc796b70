"""What the fast path leaves: zone transfers, signed questions (RFC 5936, RFC 1995, RFC 8945)."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
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


def read_question(query: bytes, keys: Keys) -> Question | Reply | None:
    """A question that the fast path called unusual, with a whole header; a Reply where it must be refused. Signatures
    are checked.
    """
    if len(query) > _MAX_QUERY:
        return None
    if not _is_plain(query):
        return _refuse(query, Rcode.FORMERR)
    try:
        message = dns.message.from_wire(query, keyring=dict(keys))
    except (dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.PeerError, dns.message.UnknownTSIGKey):
        return _refuse(query, Rcode.NOTAUTH)
    except (dns.exception.DNSException, ValueError, struct.error):
        return _refuse(query, Rcode.FORMERR)
    if len(message.question) != 1 or message.opcode() != dns.opcode.QUERY:
        return _refuse(query, Rcode.NOTIMP)
    question = message.question[0]
    signature = None
    if message.had_tsig and message.keyring is not None:
        signature = Signature(message.keyring, message.mac or b"")
    serial = next(
        (rdata.serial for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA for rdata in rrset),
        None,
    )
    name = question.name.canonicalize().to_wire()
    assert name is not None  # noqa: S101 - to_wire returns None only where it writes into a file
    return Question(message.id, int(question.rdtype), name, _without_tsig(message), signature, serial)


def _is_plain(query: bytes) -> bool:
    """Whether there is nothing in it but what a secondary sends, with names of few labels: pointers give a record a
    long name for two octets, and a question of 300 such records takes most of a second to read.
    """
    counts = struct.unpack("!HHH", query[6:HEADER])
    if any(count > len(expected) for count, expected in zip(counts, _EXPECTED, strict=True)):
        return False
    try:
        at = _skip_name(query, HEADER) + 4
        for count, expected in zip(counts, _EXPECTED, strict=True):
            for _ in range(count):
                at = _skip_name(query, at)
                kind, _, _, length = struct.unpack_from("!HHIH", query, at)
                at += 10
                if kind not in expected:
                    return False
                if kind == Type.SOA:
                    _skip_name(query, _skip_name(query, at))
                at += length
    except (IndexError, struct.error):
        return False
    return True


def _skip_name(query: bytes, at: int) -> int:
    """Where it ends. Raises IndexError, for more labels than any name of ours has too."""
    for _ in range(_MAX_LABELS):
        if (length := query[at]) == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        at += length + 1
    raise IndexError


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
    reply = _refuse(question.plain, Rcode.REFUSED).wire
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

    def __init__(self, signature: Signature, now: int) -> None:
        self._key = signature.key
        self._mac = signature.request_mac
        self._context: object = None
        self._now = now

    def sign(self, wire: bytes, *, last: bool) -> bytes:
        blank = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]  # dnspython has no types here
            "ANY",
            "TSIG",
            self._key.algorithm,
            self._now,
            _FUDGE_SECONDS,
            b"",
            int.from_bytes(wire[:2], "big"),
            0,
            b"",
        )
        many = not last or self._context is not None
        rdata, self._context = dns.tsig.sign(  # type: ignore[no-untyped-call]  # as above
            wire, self._key, blank, self._now, self._mac, self._context, many
        )
        data = rdata.to_wire() or b""
        owner = self._key.name.to_wire() or b""
        count = (int.from_bytes(wire[10:12], "big") + 1).to_bytes(2, "big")
        record = owner + struct.pack("!HHIH", Type.TSIG, 255, 0, len(data)) + data
        return wire[:10] + count + wire[HEADER:] + record


def _refuse(query: bytes, rcode: Rcode) -> Reply:
    """A bare header with the id of the question."""
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
