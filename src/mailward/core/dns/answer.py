"""One question, one answer: from octets to octets."""

from typing import NamedTuple

from mailward.core.dns.wire import HEADER, MAX_LABEL, MAX_NAME, Rcode, Type
from mailward.core.dns.zone import Authority, Zone

UDP_PAYLOAD = 1232
"""What we take and send at most by UDP: fits into the smallest IPv6 packet (DNS flag day 2020)."""
_PLAIN_UDP = 512  # RFC 1035 §2.3.4
_MAX_TCP = 65_535
_QR, _AA, _TC, _RD = 0x80, 0x04, 0x02, 0x01
_CD = 0x10
_OPCODE = 0x78
_ONE_QUESTION = b"\0\1\0\0\0\0"  # and neither answer nor authority
_NOTHING = b"\0\0"
_CLASS_IN = b"\0\1"
_OPT_HEAD = b"\0" + Type.OPT.to_bytes(2, "big")
_OPT_START = _OPT_HEAD + UDP_PAYLOAD.to_bytes(2, "big")
_DO = 0x80
_OPTS = {do: _OPT_START + bytes([0, 0, do, 0, 0, 0]) for do in (0, _DO)}
_BADVERS = _OPT_START + bytes([Rcode.BADVERS >> 4, 0, 0, 0, 0, 0])
# RFC 8482 §4.2: a synthesised HINFO, which no resolver can mistake for all that there is
_HINFO = b"\x07RFC8482\0"
_ANY = (
    b"\0\1\xc0\x0c" + Type.HINFO.to_bytes(2, "big") + _CLASS_IN
    + (3600).to_bytes(4, "big") + len(_HINFO).to_bytes(2, "big") + _HINFO
)  # fmt: skip


class Reply(NamedTuple):
    wire: bytes
    topic: bytes
    """What it is about, for limits of rate: the name that has an answer, or the zone that has none."""
    head_length: int
    """Header and question: what a shortened reply is made of."""


class Unusual(NamedTuple):
    """A question that the fast path leaves to a full reader: signed, a transfer, or another operation."""

    type: int


def answer(query: bytes, authority: Authority, *, udp: bool) -> Reply | Unusual | None:
    """The reply; None where none is due: to a response, and to what is too short to be answered."""
    if len(query) < HEADER or query[2] & _QR:
        return None
    if query[4:10] != _ONE_QUESTION or query[2] & _OPCODE:
        return _odd(query)
    try:
        at = HEADER
        while (length := query[at]) != 0:
            if length > MAX_LABEL:
                return _bare(query, Rcode.FORMERR)
            at += length + 1
        kind = query[at + 1] << 8 | query[at + 2]
    except IndexError:
        return _bare(query, Rcode.FORMERR)
    end = at + 5
    # more than a name, a type and a class; RFC 1035 §4.1.2
    if len(query) < end or end - HEADER - 4 > MAX_NAME:
        return _bare(query, Rcode.FORMERR)
    limit, opt = _PLAIN_UDP, b""
    if len(query) > end or query[11]:
        edns = _read_edns(query, end)
        if edns is None:
            return Unusual(kind) if query[11] else _bare(query, Rcode.FORMERR)
        limit, opt = edns
        if opt is _BADVERS:
            return _fail(query, end, Rcode.NOERROR, opt)
    return _look_up(query, at, kind, authority, opt, limit if udp else None)


def _read_edns(query: bytes, at: int) -> tuple[int, bytes] | None:
    """How long a reply by UDP may be, and the OPT record of the reply; None where there is more, or something else,
    behind the question.
    """
    rest = query[at:]
    if query[10] or query[11] != 1 or rest[:3] != _OPT_HEAD or len(rest) < 11:
        return None
    if len(rest) != 11 + (rest[9] << 8 | rest[10]):
        return None
    if rest[6]:  # RFC 6891 §6.1.3
        return 0, _BADVERS
    return rest[3] << 8 | rest[4], _OPTS[rest[7] & _DO]


def _look_up(
    query: bytes, at: int, kind: int, authority: Authority, opt: bytes, limit: int | None
) -> Reply | Unusual:
    """`at` is where the name ends; `limit` that of a reply by UDP."""
    end = at + 5
    if kind in (Type.AXFR, Type.IXFR):
        return Unusual(kind)
    name = query[HEADER : at + 1].lower()  # lengths are below the letters
    sets = authority.nodes.get(name)
    if query[at + 3 : end] != _CLASS_IN:
        return _fail(query, end, Rcode.REFUSED, opt)
    if sets is None:
        zone = authority.zone_of(name)
        sets = None if zone is None else zone.nodes.get(name)
        if sets is None:
            return _deny(query, end, name, zone, opt)
    packed = sets.get(kind) or sets.get(Type.ALIAS)
    if packed is None:
        if kind != Type.ANY or not sets:
            return _deny(query, end, name, authority.zone_of(name), opt, exists=True)
        packed = _ANY
    wire = b"".join((
        query[:2], bytes((_QR | _AA | query[2] & _RD, query[3] & _CD)), b"\0\1", packed[:2],
        _NOTHING, b"\0\1" if opt else _NOTHING, query[HEADER:end], packed[2:], opt,
    ))  # fmt: skip
    if len(wire) > (_MAX_TCP if limit is None else max(min(limit, UDP_PAYLOAD), _PLAIN_UDP)):
        return Reply(_shorten(wire, end, opt), name, end)
    return Reply(wire, name, end)


def truncate(reply: Reply) -> bytes:
    """The reply as one that says: ask again by TCP (RFC 2181 section 9)."""
    opt = _OPTS[0] if reply.wire[11] else b""
    return _shorten(reply.wire, reply.head_length, opt)


def _shorten(wire: bytes, end: int, opt: bytes) -> bytes:
    asked = b"\0\1" if end > HEADER else _NOTHING  # what could not be read is not repeated
    counts = asked + _NOTHING * 2 + (b"\0\1" if opt else _NOTHING)
    return wire[:2] + bytes((wire[2] | _TC, wire[3])) + counts + wire[HEADER:end] + opt


def _deny(
    query: bytes, end: int, name: bytes, zone: Zone | None, opt: bytes, *, exists: bool = False
) -> Reply:
    """No data, no such name, or not our zone. The first two with the SOA (RFC 2308 section 3)."""
    if zone is None:
        return _fail(query, end, Rcode.REFUSED, opt)
    rcode = Rcode.NOERROR if exists else Rcode.NXDOMAIN
    owner = (
        (0xC000 | (HEADER + len(name) - len(zone.apex))).to_bytes(2, "big") if len(zone.apex) > 1 else b"\0"
    )
    wire = b"".join((
        query[:2], bytes((_QR | _AA | query[2] & _RD, query[3] & _CD | rcode)), b"\0\1", _NOTHING,
        b"\0\1", b"\0\1" if opt else _NOTHING, query[HEADER:end], owner, zone.negative, opt,
    ))  # fmt: skip
    return Reply(wire, zone.apex, end)


def _fail(query: bytes, end: int, rcode: Rcode, opt: bytes) -> Reply:
    counts = b"\0\1" + _NOTHING * 2 + (b"\0\1" if opt else _NOTHING)
    flags = bytes((_QR | query[2] & (_OPCODE | _RD), query[3] & _CD | rcode))
    return Reply(query[:2] + flags + counts + query[HEADER:end] + opt, b"", end)


def _bare(query: bytes, rcode: Rcode) -> Reply:
    """A header and no more: the question could not be read."""
    flags = bytes((_QR | query[2] & (_OPCODE | _RD), rcode))
    return Reply(query[:2] + flags + _NOTHING * 4, b"", HEADER)


def _odd(query: bytes) -> Reply | Unusual:
    if query[2] & _OPCODE:
        return _bare(query, Rcode.NOTIMP)
    # an IXFR question carries the secondary's SOA in the authority section (RFC 1995 §3)
    if query[4:6] == b"\0\1" and query[6:8] == _NOTHING and query[8:10] == b"\0\1":
        return Unusual(Type.IXFR)
    return _bare(query, Rcode.FORMERR)
