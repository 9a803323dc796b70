"""What went over a captured link: TCP streams, what was said in them, and DNS.

packets = read_capture(Path("sender.pcap"))
for talk in smtp_talks(packets):
    talk.server, talk.contains(b"secret"), talk.lines()
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socket import inet_ntoa

import dns.exception
import dns.message
import dns.rdatatype

from mailward.lab.capture import HEADER, MAGIC, RECORD

_ETHERNET_BYTES = 14
_IPV4, _TCP, _UDP = b"\x08\x00", 6, 17
_SYN, _ACK = 2, 16
SMTP, HTTPS, DNS = 25, 443, 53
_WRAP = 1 << 32
_MOST_WAITING = 1000  # segments that came too early
_IP_BYTES, _TCP_BYTES, _UDP_BYTES = 20, 20, 8  # of their headers, at least


@dataclass(frozen=True, slots=True)
class Packet:
    at: float
    """Seconds since 1970."""
    protocol: int
    source: tuple[str, int]
    target: tuple[str, int]
    flags: int
    sequence: int
    payload: bytes


@dataclass(slots=True)
class _Half:
    """One direction of a connection."""

    expected: int | None = None
    waiting: dict[int, bytes] = field(default_factory=dict)

    def take(self, packet: Packet) -> bytes:
        """What can be read now, in order: packets may be repeated, overlap, or overtake each other."""
        if packet.flags & _SYN:
            self.expected = (packet.sequence + 1) % _WRAP
            return b""
        if not packet.payload or self.expected is None:
            return b""
        if len(self.waiting) < _MOST_WAITING:
            self.waiting[packet.sequence] = packet.payload
        found = b""
        while (fresh := self._fresh()) is not None:
            found += fresh
            self.expected = (self.expected + len(fresh)) % _WRAP
        return found

    def _fresh(self) -> bytes | None:
        """What follows on that which was read; segments that brought nothing new are dropped."""
        for sequence, payload in list(self.waiting.items()):
            known = ((self.expected or 0) - sequence) % _WRAP
            if known < _WRAP // 2:  # it begins at or before what is expected
                del self.waiting[sequence]
                if known < len(payload):
                    return payload[known:]
        return None


@dataclass(slots=True)
class Talk:
    """One TCP connection."""

    at: float
    client: tuple[str, int]
    server: tuple[str, int]
    turns: list[tuple[bool, bytes]] = field(default_factory=list)
    """Whether the client said it, and what."""

    def contains(self, text: bytes) -> bool:
        """Readable by whoever sees the packets."""
        return any(
            text in b"".join(said for who, said in self.turns if who is is_client)
            for is_client in (True, False)
        )

    def dialogue(self) -> list[tuple[bool, str]]:
        """An SMTP session as far as it can be read: who, and the line. What is encrypted is counted."""
        lines: list[tuple[bool, str]] = []
        hidden = 0
        for is_client, said in self.turns:
            if hidden or _is_tls(said):
                hidden += len(said)
            else:
                lines += [(is_client, line) for line in said.decode("ascii", "replace").splitlines()]
        if hidden:
            lines.append((True, f"[TLS: {hidden} bytes that only the two ends can read]"))
        return lines


def _is_tls(said: bytes) -> bool:
    return said[:2] == b"\x16\x03"  # RFC 8446 §5.1: a record that holds a handshake


def read_capture(path: Path) -> list[Packet]:
    """The IPv4 packets with TCP or UDP, in the order of the capture."""
    content = path.read_bytes()
    if int.from_bytes(content[:4], "little") != MAGIC:
        return []
    return list(_packets(content))


def _packets(content: bytes) -> Iterator[Packet]:
    at = HEADER.size
    while at + RECORD.size <= len(content):
        seconds, micros, length, _ = RECORD.unpack_from(content, at)
        frame = content[at + RECORD.size : at + RECORD.size + length]
        at += RECORD.size + length
        if (
            len(frame) == length
            and frame[12:14] == _IPV4
            and (packet := _packet(frame, seconds + micros / 1e6))
        ):
            yield packet


def _packet(frame: bytes, at: float) -> Packet | None:
    ip = frame[_ETHERNET_BYTES:]
    if len(ip) < _IP_BYTES:
        return None
    start, end, protocol = (ip[0] & 15) * 4, int.from_bytes(ip[2:4]), ip[9]
    inner = ip[start : end or None]  # 0: put together from several, longer than the field can say
    least = {_TCP: _TCP_BYTES, _UDP: _UDP_BYTES}.get(protocol)
    if least is None or len(inner) < least:
        return None
    source = (inet_ntoa(ip[12:16]), int.from_bytes(inner[0:2]))
    target = (inet_ntoa(ip[16:20]), int.from_bytes(inner[2:4]))
    if protocol == _UDP:
        return Packet(at, protocol, source, target, 0, 0, inner[_UDP_BYTES:])
    header = (inner[12] >> 4) * 4
    return Packet(at, protocol, source, target, inner[13], int.from_bytes(inner[4:8]), inner[header:])


def talks(packets: Iterable[Packet], port: int) -> list[Talk]:
    """The TCP connections to that port, in the order of their beginning."""
    found: list[Talk] = []
    running: dict[frozenset[tuple[str, int]], tuple[Talk, _Half, _Half]] = {}
    for packet in packets:
        if packet.protocol != _TCP or port not in (packet.source[1], packet.target[1]):
            continue
        key = frozenset((packet.source, packet.target))
        if packet.flags & (_SYN | _ACK) == _SYN and (key not in running or running[key][0].turns):
            running[key] = Talk(packet.at, packet.source, packet.target), _Half(), _Half()
            found.append(running[key][0])
        if key not in running:
            continue
        talk, of_client, of_server = running[key]
        is_client = packet.source == talk.client
        if said := (of_client if is_client else of_server).take(packet):
            if talk.turns and talk.turns[-1][0] is is_client and not _is_tls(said):
                said = talk.turns.pop()[1] + said
            talk.turns.append((is_client, said))
    return found


def dns_answers(packets: Iterable[Packet]) -> list[tuple[float, str, str]]:
    """Time, `name type`, and what was answered, as it came over the link; signatures left out."""
    found = []
    for packet in packets:
        if packet.protocol != _UDP or packet.source[1] != DNS:
            continue
        try:
            message = dns.message.from_wire(packet.payload)
        except dns.exception.DNSException:
            continue
        if not message.question:
            continue
        question = message.question[0]
        asked = f"{question.name.to_text(omit_final_dot=True)} {question.rdtype.name}"
        records = [
            rdata.to_text()
            for rrset in message.answer
            if rrset.rdtype != dns.rdatatype.RRSIG
            for rdata in rrset
        ]
        signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in message.answer)
        said = ", ".join(records) or (message.rcode().name if message.rcode() else "no such record")
        found.append((packet.at, asked, said + (" (signed)" if signed else "")))
    return found
