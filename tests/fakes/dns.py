"""A real DNS server on loopback (UDP and TCP, one port) whose zone data and faults change at run time.

    dns = FakeDns()
    dns.set("example.test", "MX", "10 mx.example.test.")
    dns.set("_mta-sts.example.test", "TXT", "v=STSv1; id=1;")
    async with dns: Resolver([dns.address])          # in an async test
    with dns.threaded(): ...                          # elsewhere: its own event loop in a thread

It answers for every zone at once, as authoritative server and as resolver; it follows CNAMEs in its data.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.TXT import TXT

IN = dns.rdataclass.IN


class Fault(StrEnum):
    SERVFAIL = "servfail"
    REFUSED = "refused"
    SILENCE = "silence"  # no answer at all: the asker's deadline must save it
    TRUNCATED = "truncated"  # TC and nothing else by UDP: the asker must come again by TCP
    GARBAGE = "garbage"  # bytes that are no DNS message
    FOREIGN_ID = "foreign-id"  # as a blind forger would send
    OTHER_QUESTION = "other-question"


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    rdtype: str
    transport: str
    recursion_desired: bool


class FakeDns:
    def __init__(self, *, ttl: int = 60, authenticated: bool = False, host: str = "127.0.0.1") -> None:
        self.ttl = ttl
        self.host = host
        self.authenticated = authenticated
        """Sets the AD bit, as a validating resolver does, except for names in `insecure` and below them."""
        self.insecure: set[str] = set()
        self.queries: list[Query] = []
        self.port = 0
        self._data: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], list[dns.rdata.Rdata]] = {}
        self._faults: dict[tuple[dns.name.Name | None, str | None], Fault] = {}
        self._existing: set[dns.name.Name] | None = None
        """All names in the data, and those above them; None: not counted since the data changed."""
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def set(self, name: str, rdtype: str, *texts: str | bytes | tuple[str | bytes, ...]) -> None:
        """Replace the records at `name`. TXT takes the plain text (a tuple gives its character-strings one by
        one); every other type takes zone file text. Without texts the records go away."""
        kind = dns.rdatatype.from_text(rdtype)
        key = (dns.name.from_text(name), kind)
        self._existing = None
        if not texts:
            self._data.pop(key, None)
        else:
            self._data[key] = [_rdata(kind, text) for text in texts]

    def remove(self, name: str, rdtype: str) -> None:
        self.set(name, rdtype)

    def delegate(self, apex: str, *name_servers: str) -> None:
        """Make `apex` a zone of its own, with these name servers."""
        self.set(apex, "SOA", f"{name_servers[0]} hostmaster.{apex.rstrip('.')}. 1 3600 600 86400 60")
        self.set(apex, "NS", *name_servers)

    def texts(self, name: str, rdtype: str) -> list[str]:
        """The records at `name`, as `set` takes them (TXT: as one text each)."""
        found = self._data.get((dns.name.from_text(name), dns.rdatatype.from_text(rdtype)), [])
        if rdtype == "TXT":
            return [b"".join(each.strings).decode() for each in found]  # type: ignore[attr-defined]  # of TXT
        return [each.to_text() for each in found]

    def copy(self, other: "FakeDns", name: str, rdtype: str) -> None:
        """What the other server says of `name`."""
        self.set(name, rdtype, *other.texts(name, rdtype))

    def fail(self, fault: Fault, name: str | None = None, rdtype: str | None = None) -> None:
        """Answer with `fault` for this name and type; None means any."""
        self._faults[(dns.name.from_text(name) if name else None, rdtype)] = fault

    def heal(self) -> None:
        self._faults.clear()

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(20):  # the TCP port of the same number may be taken: try another
            self._tcp = await asyncio.start_server(self._serve_tcp, self.host, self.port)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Udp(self), local_addr=(self.host, self.port)
                )
            except OSError:
                self._tcp.close()
                self.port = 0
                continue
            return self
        raise OSError("no port that is free for both UDP and TCP")

    async def stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()
        await asyncio.sleep(0)  # lets the transports close their sockets

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @contextmanager
    def threaded(self) -> Iterator[Self]:
        started, ended = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def live() -> None:
            async with self:
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
        thread.start()
        assert started.wait(10), "the fake DNS did not start"
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.close()

    def answer(self, wire: bytes, transport: str) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return None
        rdtype = dns.rdatatype.to_text(question.rdtype)
        wants_recursion = bool(query.flags & dns.flags.RD)
        self.queries.append(Query(question.name.to_text(True), rdtype, transport, wants_recursion))
        fault = self._fault(question.name, rdtype)
        if fault == Fault.SILENCE:
            return None
        if fault == Fault.GARBAGE:
            return query.id.to_bytes(2, "big") + b"\xff" * 30
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA
        if query.ednsflags & dns.flags.DO:
            response.want_dnssec()
        if fault == Fault.TRUNCATED and transport == "udp":
            response.flags |= dns.flags.TC
        elif fault in (Fault.SERVFAIL, Fault.REFUSED):
            response.set_rcode(dns.rcode.SERVFAIL if fault == Fault.SERVFAIL else dns.rcode.REFUSED)
        else:
            self._fill(response, question.name, question.rdtype)
        if fault == Fault.FOREIGN_ID:
            response.id ^= 0x5555
        if fault == Fault.OTHER_QUESTION:
            other = dns.name.from_text("other.invalid")
            response.question = [dns.rrset.RRset(other, IN, question.rdtype)]
        return response.to_wire(max_size=65535) if transport == "tcp" else _udp_wire(response, query)

    def _fault(self, name: dns.name.Name, rdtype: str) -> Fault | None:
        for key in ((name, rdtype), (name, None), (None, rdtype), (None, None)):
            if key in self._faults:
                return self._faults[key]
        return None

    def _fill(
        self, response: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> None:
        if self.authenticated and not self._is_insecure(name):
            response.flags |= dns.flags.AD
        for _ in range(8):  # a CNAME loop in the data must end
            alias = self._data.get((name, dns.rdatatype.CNAME))
            if alias and rdtype != dns.rdatatype.CNAME:
                response.answer.append(self._rrset(name, dns.rdatatype.CNAME))
            if (name, rdtype) in self._data:
                response.answer.append(self._rrset(name, rdtype))
                signatures = self._data.get((name, dns.rdatatype.RRSIG), []) if response.ednsflags else []
                covering = [each for each in signatures if each.covers() == rdtype]
                if covering:
                    response.answer.append(dns.rrset.from_rdata_list(name, self.ttl, covering))
                return
            if not alias or rdtype == dns.rdatatype.CNAME:
                break
            name = dns.name.from_text(alias[0].to_text())
            if self._is_insecure(name):  # RFC 4035 §3.2.3: AD is for all of the answer
                response.flags &= ~dns.flags.AD
        if not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if apex := self._apex(name):
            response.authority.append(self._rrset(apex, dns.rdatatype.SOA))

    def _is_insecure(self, name: dns.name.Name) -> bool:
        return any(name.is_subdomain(dns.name.from_text(apex)) for apex in self.insecure)

    def _rrset(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.rrset.RRset:
        return dns.rrset.from_rdata_list(name, self.ttl, self._data[(name, rdtype)])

    def _exists(self, name: dns.name.Name) -> bool:
        if self._existing is None:
            self._existing = {
                owner.split(depth)[1] for owner, _ in self._data for depth in range(len(owner) + 1)
            }
        return name in self._existing

    def _apex(self, name: dns.name.Name) -> dns.name.Name | None:
        while name != dns.name.root:
            if (name, dns.rdatatype.SOA) in self._data:
                return name
            name = name.parent()
        return None

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                response = self.answer(await reader.readexactly(size), "tcp")
                if response is None:
                    return
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDns) -> None:
        self.server = server
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11's selector transport is no DatagramTransport by class, only by its methods
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self.server.answer(data, "udp")
        if response is not None and self.transport is not None:
            self.transport.sendto(response, addr)


def _udp_wire(response: dns.message.Message, query: dns.message.Message) -> bytes:
    try:
        return response.to_wire(max_size=query.payload or 512)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()


def _rdata(kind: dns.rdatatype.RdataType, text: str | bytes | tuple[str | bytes, ...]) -> dns.rdata.Rdata:
    if kind != dns.rdatatype.TXT:
        if isinstance(text, bytes):
            return dns.rdata.GenericRdata(IN, kind, text)  # whatever it is on the wire
        assert isinstance(text, str)
        return dns.rdata.from_text(IN, kind, text)
    if isinstance(text, tuple):
        return TXT(IN, kind, [part.encode() if isinstance(part, str) else part for part in text])
    raw = text.encode() if isinstance(text, str) else text
    return TXT(IN, kind, [raw[start : start + 255] for start in range(0, len(raw), 255)] or [b""])
