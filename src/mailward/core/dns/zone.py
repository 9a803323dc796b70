"""Zones as they are served: answers kept in wire form, found by the question's name."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from mailward.core.dns.wire import CLASS_IN, Type, decode_name, encode_name, is_below

MAX_CHAIN = 8
_OWNER = b"\xc0\x0c"  # a pointer to the question's name, which every response repeats at octet 12
_HEAD = struct.Struct("!HHIH")


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or rather its data: records of the same owner and type form a set."""

    owner: str
    """With or without final dot."""
    type: Type
    data: str | bytes
    """TXT: the text; A, AAAA: the address; CNAME, NS: the name; anything else: rdata."""
    ttl: int = 300


@dataclass(frozen=True, slots=True)
class Soa:
    """RFC 1035 section 3.3.13; times in seconds."""

    primary: str
    contact: str
    """A mail address."""
    serial: int
    refresh: int = 900
    retry: int = 300
    expire: int = 1_209_600
    negative: int = 60
    """How long resolvers may remember that something is not there (RFC 2308 section 4)."""
    ttl: int = 3600


NodeSets = Mapping[int, bytes]
"""Type -> how many records (two octets) and their wire form, whose owner is a pointer to octet 12."""


@dataclass(frozen=True, slots=True)
class Zone:
    apex: bytes
    """In wire form, lower case."""
    serial: int
    nodes: Mapping[bytes, NodeSets]
    """By name in wire form. Names that only have others below them have no set."""
    aliases: frozenset[bytes]
    """Those with a CNAME: their other sets are answers put together, not records."""
    negative: bytes
    """The SOA for the authority section, without its owner."""

    def records(self) -> Iterator[bytes]:
        """All records in wire form, without compression; the SOA first and again at the end (RFC 5936)."""
        soa = self.apex + self.nodes[self.apex][Type.SOA][4:]
        yield soa
        for name, sets in self.nodes.items():
            for kind, packed in sets.items():
                if kind != Type.SOA and (name not in self.aliases or kind == Type.CNAME):
                    yield from _spell_out(name, packed)
        yield soa


class Authority:
    """All zones that we answer for."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.zones = {zone.apex: zone for zone in zones}
        self.nodes: dict[bytes, NodeSets] = {}
        # a zone below another one has the last word about its names
        for zone in sorted(self.zones.values(), key=lambda zone: len(zone.apex)):
            self.nodes.update(zone.nodes)

    def zone_of(self, name: bytes) -> Zone | None:
        """The zone that a name in wire form, lower case, is in."""
        at = 0
        while True:
            if (zone := self.zones.get(name[at:])) is not None:
                return zone
            if name[at] == 0:
                return None
            at += name[at] + 1


def make_zone(apex: str, soa: Soa, records: Iterable[Record]) -> Zone:
    """Raises ValueError for what cannot be served: a name outside the zone, a CNAME beside other data, a
    chain of CNAMEs without end.
    """
    top = encode_name(apex)
    gathered: dict[bytes, dict[Type, list[bytes]]] = {
        top: {Type.SOA: [_record(Type.SOA, soa.ttl, _soa(soa))]}
    }
    shared: dict[tuple[Type, str | bytes, int], bytes] = {}
    for record in records:
        owner = encode_name(record.owner)
        if not is_below(owner, top):
            raise ValueError(f"{record.owner} is not in the zone {apex}")
        key = record.type, record.data, record.ttl
        if (wire := shared.get(key)) is None:
            wire = shared[key] = _record(record.type, record.ttl, encode_data(record.type, record.data))
        wires = gathered.setdefault(owner, {}).setdefault(record.type, [])
        if wire not in wires:
            wires.append(wire)
    nodes = _pack(gathered)
    aliases = _resolve_aliases(nodes)
    _add_empty(nodes, top)
    negative = _record(Type.SOA, min(soa.negative, soa.ttl), _soa(soa))[2:]
    return Zone(top, soa.serial, nodes, aliases, negative)


def encode_data(kind: Type, data: str | bytes) -> bytes:
    """Rdata. Raises ValueError."""
    if isinstance(data, bytes):
        return data
    if kind is Type.TXT:
        text = data.encode("ascii")
        strings = [text[at : at + 255] for at in range(0, len(text), 255)] or [b""]
        return b"".join(bytes([len(string)]) + string for string in strings)
    if kind in (Type.A, Type.AAAA):
        address = ip_address(data)
        if (address.version == 4) is not (kind is Type.A):
            raise ValueError(f"{data} is no {kind.name} address")
        return address.packed
    if kind in (Type.CNAME, Type.NS):
        return encode_name(data)
    raise ValueError(f"the data of {kind.name} is given as octets")


def _soa(soa: Soa) -> bytes:
    user, _, host = soa.contact.rpartition("@")
    # RFC 1035 §3.3.13: the local part is the first label, dots and all
    label = user.encode("ascii")
    if not 0 < len(label) < 64:
        raise ValueError(f"{soa.contact} is no contact that fits into a SOA record")
    times = struct.pack("!IIIII", soa.serial, soa.refresh, soa.retry, soa.expire, soa.negative)
    return encode_name(soa.primary) + bytes([len(label)]) + label + encode_name(host) + times


def _record(kind: Type, ttl: int, data: bytes) -> bytes:
    return _OWNER + _HEAD.pack(kind, CLASS_IN, ttl, len(data)) + data


def _pack(gathered: Mapping[bytes, Mapping[Type, list[bytes]]]) -> dict[bytes, NodeSets]:
    nodes: dict[bytes, NodeSets] = {}
    # the addresses of 100,000 policy hosts are one set
    alike: dict[tuple[tuple[Type, bytes], ...], NodeSets] = {}
    for name, sets in gathered.items():
        if Type.CNAME in sets and (len(sets) > 1 or len(sets[Type.CNAME]) > 1):
            raise ValueError(f"a CNAME stands beside other data at {decode_name(name)}")
        packed = tuple(
            (kind, len(wires).to_bytes(2, "big") + b"".join(wires)) for kind, wires in sets.items()
        )
        nodes[name] = alike.setdefault(packed, dict(packed))
    return nodes


def _resolve_aliases(nodes: dict[bytes, NodeSets]) -> frozenset[bytes]:
    """Where a CNAME leads to a name of the same zone, the answer holds what is found there (RFC 1034 section
    4.3.2).
    """
    aliases = frozenset(name for name, sets in nodes.items() if Type.CNAME in sets)
    targets = {name: nodes[name][Type.CNAME][14:] for name in aliases}
    complete: dict[bytes, NodeSets] = {}
    for name in aliases:
        links, target = [nodes[name][Type.CNAME][2:]], targets[name]
        while target in targets:
            links.extend(_spell_out(target, nodes[target][Type.CNAME]))
            target = targets[target]
            if len(links) > MAX_CHAIN:
                raise ValueError(f"the CNAMEs that begin at {decode_name(name)} do not end")
        answers = {Type.CNAME.value: nodes[name][Type.CNAME]}
        for kind, packed in nodes.get(target, {}).items():
            wires = [*links, *_spell_out(target, packed)]
            answers[kind] = len(wires).to_bytes(2, "big") + b"".join(wires)
        answers[Type.ALIAS] = len(links).to_bytes(2, "big") + b"".join(links)
        complete[name] = answers
    nodes.update(complete)
    return aliases


def _add_empty(nodes: dict[bytes, NodeSets], top: bytes) -> None:
    """Names that exist only since others are below them: no data, but no NXDOMAIN either (RFC 8020)."""
    nothing: NodeSets = {}
    for name in tuple(nodes):
        while len(name) > len(top):
            name = name[name[0] + 1 :]
            if name in nodes:
                break
            nodes[name] = nothing


def _spell_out(name: bytes, packed: bytes) -> Iterator[bytes]:
    """The records of a set, with the owner's name in full."""
    at = 2
    while at < len(packed):
        end = at + 12 + int.from_bytes(packed[at + 10 : at + 12], "big")
        yield name + packed[at + 2 : end]
        at = end
