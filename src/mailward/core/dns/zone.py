"""Zones as they are served: answers kept in wire form, found by the question's name."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from mailward.core.dns.wire import CLASS_IN, Type, decode_name, encode_name, is_below

MAX_CHAIN = 8
_OWNER = b"\xc0\x0c"  # a pointer to the question's name, which every response repeats at octet 12
_HEAD = struct.Struct("!HHIH")
_TARGET = 14
"""Where in a packed CNAME its target begins: a count, a pointer, a type, a class, a TTL and a length."""
_MAX_SHARED = 1000
_SOA, _TXT, _CNAME, _ALIAS = (kind.value for kind in (Type.SOA, Type.TXT, Type.CNAME, Type.ALIAS))
"""As plain numbers, whose hashes cost nothing."""


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
_NO_SETS: NodeSets = {}


class Zone:
    """One zone, changed in place, a name at a time: a change of one name costs the same in a zone of any size.

    Its sets are never changed but replaced, so that whoever holds one holds what was true.
    """

    __slots__ = ("_below", "_shared", "_soa", "_targets", "apex", "negative", "nodes", "serial")

    def __init__(self, apex: str, soa: Soa) -> None:
        """Raises ValueError."""
        self.apex = encode_name(apex)
        """In wire form, lower case."""
        self.nodes: dict[bytes, NodeSets] = {}
        """By name in wire form. Names that only have others below them have no set."""
        self._below: dict[bytes, int] = {}
        """How many names stand directly below a name."""
        self._targets: Counter[bytes] = Counter()
        """Names of this zone that CNAMEs lead to."""
        self._shared: dict[tuple[tuple[int, bytes], ...], NodeSets] = {}
        self._soa = self.negative = b""
        self.serial = 0
        self.set_soa(soa)

    def set_soa(self, soa: Soa) -> None:
        """A new serial, mostly. Raises ValueError."""
        data = _soa(soa)
        self._soa = b"\0\1" + _record(Type.SOA, soa.ttl, data)
        # the SOA for the authority section, without its owner
        self.negative = _record(Type.SOA, min(soa.negative, soa.ttl), data)[2:]
        self.nodes[self.apex] = {**self.nodes.get(self.apex, {}), _SOA: self._soa}
        self.serial = soa.serial

    def put(self, changed: Mapping[bytes, NodeSets]) -> None:
        """These names now have these sets and no others; a name without any is removed. All are in the zone
        (see `prepare`). Raises ValueError for CNAMEs without end.
        """
        aliases = [name for name, sets in changed.items() if _CNAME in sets]
        for name, sets in changed.items():
            if name == self.apex:
                sets = {**sets, _SOA: self._soa}
            if sets:
                self._set(name, sets)
            else:
                self._remove(name)
        if self._targets and not self._targets.keys().isdisjoint(changed):
            aliases = [name for name, sets in self.nodes.items() if _CNAME in sets]
        for name in aliases:
            self.nodes[name] = self._share(self._resolve(name))

    def records(self) -> Iterator[bytes]:
        """All records of this moment in wire form, without compression; the SOA first and again at the end (RFC
        5936).
        """
        # two lists of references: some milliseconds for a million names, while the zone may change meanwhile
        names, nodes = list(self.nodes), list(self.nodes.values())
        soa = self.apex + self._soa[4:]
        yield soa
        for name, sets in zip(names, nodes, strict=True):
            # the other sets of an alias are answers put together, not records
            kinds = (_CNAME,) if _CNAME in sets else sets
            for kind in kinds:
                if kind != _SOA:
                    yield from _spell_out(name, sets[kind])
        yield soa

    def _set(self, name: bytes, sets: NodeSets) -> None:
        before = self.nodes.get(name)
        if before is None:
            self._enter(name)
        elif _CNAME in before:
            self._forget_target(before)
        if _CNAME in sets and is_below(target := sets[_CNAME][_TARGET:], self.apex):
            self._targets[target] += 1
        self.nodes[name] = self._share(sets)

    def _remove(self, name: bytes) -> None:
        before = self.nodes.get(name)
        if before is None:
            return
        if _CNAME in before:
            self._forget_target(before)
        self.nodes[name] = _NO_SETS
        self._leave(name)

    def _enter(self, name: bytes) -> None:
        """A new name: the names above it exist with it, without data, but no NXDOMAIN either (RFC 8020)."""
        while name != self.apex:
            name = name[name[0] + 1 :]
            self._below[name] = self._below.get(name, 0) + 1
            if name in self.nodes:
                return
            self.nodes[name] = _NO_SETS

    def _leave(self, name: bytes) -> None:
        while name != self.apex and not self.nodes[name] and name not in self._below:
            del self.nodes[name]
            name = name[name[0] + 1 :]
            if self._below[name] > 1:
                self._below[name] -= 1
            else:
                del self._below[name]

    def _forget_target(self, sets: NodeSets) -> None:
        target = sets[_CNAME][_TARGET:]
        if target in self._targets:
            self._targets[target] -= 1
            if not self._targets[target]:
                del self._targets[target]

    def _share(self, sets: NodeSets) -> NodeSets:
        """The addresses of 100,000 policy hosts are one set; texts are each name's own."""
        if _TXT in sets or _SOA in sets:
            return sets
        key = tuple(sorted(sets.items()))
        if key not in self._shared and len(self._shared) >= _MAX_SHARED:
            self._shared.clear()
        return self._shared.setdefault(key, sets)

    def _resolve(self, name: bytes) -> NodeSets:
        """Where a CNAME leads to a name of the same zone, the answer holds what is found there (RFC 1034 section
        4.3.2).
        """
        own = self.nodes[name][_CNAME]
        links, target = [own[2:]], own[_TARGET:]
        while (sets := self.nodes.get(target, _NO_SETS)) and _CNAME in sets:
            links.extend(_spell_out(target, sets[_CNAME]))
            target = sets[_CNAME][_TARGET:]
            if len(links) > MAX_CHAIN:
                raise ValueError(f"the CNAMEs that begin at {decode_name(name)} do not end")
        answers: dict[int, bytes] = {_CNAME: own}
        for kind, packed in sets.items():
            wires = [*links, *_spell_out(target, packed)]
            answers[kind] = len(wires).to_bytes(2, "big") + b"".join(wires)
        answers[_ALIAS] = len(links).to_bytes(2, "big") + b"".join(links)
        return answers


class Authority:
    """All zones that we answer for. None of them is below another one."""

    def __init__(
        self, zones: Iterable[Zone] = (), find: Callable[[bytes], Zone | None] = lambda _apex: None
    ) -> None:
        """`find` knows further zones, made when they are asked for. Raises ValueError."""
        self._zones: dict[bytes, Zone] = {}
        self._find = find
        self.nodes: Mapping[bytes, NodeSets] = {}
        """Of the largest zone at first sight: found without a look at which zone a name is in."""
        for zone in sorted(zones, key=lambda zone: len(zone.nodes), reverse=True):
            self.add(zone)

    def add(self, zone: Zone) -> None:
        """In the place of one with the same name. Raises ValueError."""
        above = self.zone_of(zone.apex)
        if above is not None and above.apex != zone.apex:
            raise ValueError(f"{decode_name(zone.apex)} is below {decode_name(above.apex)}")
        if not self._zones or (above is not None and above.nodes is self.nodes):
            self.nodes = zone.nodes
        self._zones[zone.apex] = zone

    def zone(self, apex: bytes) -> Zone | None:
        return self._zones.get(apex) or self._find(apex)

    def zone_of(self, name: bytes) -> Zone | None:
        """The zone that a name in wire form, lower case, is in."""
        at = 0
        while True:
            if (zone := self.zone(name[at:])) is not None:
                return zone
            if name[at] == 0:
                return None
            at += name[at] + 1


def make_zone(apex: str, soa: Soa, records: Iterable[Record]) -> Zone:
    """Raises ValueError for what cannot be served: a name outside the zone, a CNAME beside other data, a
    chain of CNAMEs without end.
    """
    zone = Zone(apex, soa)
    prepared = prepare(zone.apex, records)
    if Type.CNAME in prepared.get(zone.apex, {}):
        raise ValueError(f"a CNAME stands beside other data at {apex}")
    zone.put(prepared)
    return zone


def prepare(apex: bytes, records: Iterable[Record]) -> dict[bytes, NodeSets]:
    """The names of these records with their sets, as `Zone.put` takes them; needs no zone, so that it can be done
    elsewhere. Raises ValueError for a name outside the zone, and for a CNAME beside other data.
    """
    gathered: dict[bytes, dict[Type, list[bytes]]] = {}
    shared: dict[tuple[Type, str | bytes, int], bytes] = {}
    for record in records:
        owner = encode_name(record.owner)
        if not is_below(owner, apex):
            raise ValueError(f"{record.owner} is not in the zone {decode_name(apex)}")
        key = record.type, record.data, record.ttl
        if (wire := shared.get(key)) is None:
            wire = _record(record.type, record.ttl, encode_data(record.type, record.data))
            if record.type is not Type.TXT:
                shared[key] = wire
        wires = gathered.setdefault(owner, {}).setdefault(record.type, [])
        if wire not in wires:
            wires.append(wire)
    for name, sets in gathered.items():
        if Type.CNAME in sets and (len(sets) > 1 or len(sets[Type.CNAME]) > 1):
            raise ValueError(f"a CNAME stands beside other data at {decode_name(name)}")
    return {name: _pack(sets) for name, sets in gathered.items()}


def pack_texts(ttl: int, *texts: str) -> NodeSets:
    """A name's only set: these texts. Raises ValueError for what is not ASCII."""
    wires = (_record(Type.TXT, ttl, _strings(text.encode("ascii"))) for text in texts)
    return {_TXT: len(texts).to_bytes(2, "big") + b"".join(wires)}


def encode_data(kind: Type, data: str | bytes) -> bytes:
    """Rdata. Raises ValueError."""
    if isinstance(data, bytes):
        return data
    if kind is Type.TXT:
        return _strings(data.encode("ascii"))
    if kind in (Type.A, Type.AAAA):
        address = ip_address(data)
        if (address.version == 4) is not (kind is Type.A):
            raise ValueError(f"{data} is no {kind.name} address")
        return address.packed
    if kind in (Type.CNAME, Type.NS):
        return encode_name(data)
    raise ValueError(f"the data of {kind.name} is given as octets")


def _strings(text: bytes) -> bytes:
    if len(text) < 256:
        return bytes((len(text),)) + text
    strings = (text[at : at + 255] for at in range(0, len(text), 255))
    return b"".join(bytes((len(string),)) + string for string in strings)


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


def _pack(sets: Mapping[Type, list[bytes]]) -> NodeSets:
    return {kind.value: len(wires).to_bytes(2, "big") + b"".join(wires) for kind, wires in sets.items()}


def _spell_out(name: bytes, packed: bytes) -> Iterator[bytes]:
    """The records of a set, with the owner's name in full."""
    at = 2
    while at < len(packed):
        end = at + 12 + int.from_bytes(packed[at + 10 : at + 12], "big")
        yield name + packed[at + 2 : end]
        at = end
