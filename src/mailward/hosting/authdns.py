"""The nameserver's sockets: UDP and TCP, in front of the answers that `core.dns` makes.

RFC 1035 section 4.2, RFC 7766 (TCP), RFC 5936 (transfers), RFC 1996 (NOTIFY).
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import cast

from mailward.core.dns.answer import Reply, Unusual, answer, truncate
from mailward.core.dns.ratelimit import RateLimiter, Verdict
from mailward.core.dns.wire import Type, is_below
from mailward.core.dns.zone import Authority
from mailward.core.places import Place
from mailward.hosting.catalog import Catalog
from mailward.hosting.dnsplaces import Places
from mailward.hosting.transfer import (
    Keys,
    Question,
    Refused,
    answer_ixfr_by_udp,
    answer_signed,
    read_question,
    refuse_transfer,
    transfer,
)
from mailward.net import clock
from mailward.net.httpservice import address_block
from mailward.net.listening import BACKLOG, open_datagrams, open_streams, place_of

_log = logging.getLogger("mailward.nameserver")

BATCH = 64
"""So many datagrams, or questions of a connection, before other work has its turn."""
_MAX_QUERY = 4096
TCP_IDLE_SECONDS = 10.0
TCP_CONNECTIONS = 500
TCP_CONNECTIONS_AN_ADDRESS = 20
"""An IPv6 /64 counts as one: one guest has it whole."""
TCP_CONNECTIONS_KEPT = 100
"""Beside those, for secondaries and others from whom transfers are expected."""
TCP_LIFE_SECONDS = 120.0
TCP_QUESTIONS = 10_000
"""RFC 9210 section 4.2: who has more to ask than that comes again."""
TCP_WAITING_BYTES = 64 * 1024
TRANSFER_SECONDS = 300.0
TRANSFERS = 4
CLOSE_SECONDS = 5.0
"""For what is under way when the server ends: below the supervisor's patience."""
FRESH_SECONDS = 2.0
"""So long a connection that has not asked anything yet counts as under way."""
LOOK_SECONDS = 0.05
TOLD_AGAIN_SECONDS = 60.0
"""By UDP anybody may be the sender: what is wrong with a signature is logged once in so long for an address."""
_MAX_TOLD = 1_000


class TransferAccess:
    """Who may have a whole zone: who signs with one of the keys, or asks from one of the networks."""

    def __init__(
        self,
        keys: Keys,
        networks: Sequence[IPv4Network | IPv6Network] = (),
        secondaries: Collection[str] = (),
    ) -> None:
        """`secondaries`: addresses from which transfers are expected; they need a key nevertheless."""
        self.keys = keys
        self._networks = tuple(networks)
        self._secondaries = frozenset(ip_address(each) for each in secondaries)

    def allows(self, question: Question, address: str) -> bool:
        if question.signature is not None:
            return True
        return self._is_in_networks(address)

    def expects(self, address: str) -> bool:
        """Whether transfers come from there: such connections have places that nobody else takes."""
        return _plain_address(address) in self._secondaries or self._is_in_networks(address)

    def _is_in_networks(self, address: str) -> bool:
        asker = _plain_address(address)
        return any(asker in network for network in self._networks if network.version == asker.version)


def _plain_address(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.removeprefix("::ffff:").partition("%")[0])


_DROP, _SEND = Verdict.DROP, Verdict.SEND  # an Enum's class takes ten times as long to look into as a global


class Counts:
    """What was answered since the start. Only the loop counts; any thread may read."""

    def __init__(self) -> None:
        self.by_udp, self.by_tcp = [0] * 16, [0] * 16
        """Answers by RCODE."""
        self.connections_refused = 0
        self.transfers: Counter[str] = Counter()
        """By outcome: `sent`, `refused`, `cut`."""


class Nameserver:
    """Answers for the authority that is set at the moment."""

    def __init__(self, limiter: RateLimiter, access: TransferAccess) -> None:
        self.authority = Authority()
        self.catalog: Catalog | None = None
        self.limiter = limiter
        self.access = access
        self.transfers = 0
        self.counts = Counts()
        self._datagrams: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._connections: set[TcpConnection] = set()
        self._told_at: dict[str, float] = {}
        self.places = Places(TCP_CONNECTIONS, TCP_CONNECTIONS_AN_ADDRESS)
        self.kept_places = Places(TCP_CONNECTIONS_KEPT, TCP_CONNECTIONS_AN_ADDRESS)

    async def listen(self, addresses: Sequence[str], port: int) -> int:
        """Start on UDP and TCP of each address; the port, where 0 was asked for. Raises OSError."""
        return await self.serve(*open_both([(address, port) for address in addresses]))

    async def serve(self, streams: Sequence[socket.socket], datagrams: Sequence[socket.socket]) -> int:
        """Start on sockets that are bound, and listen, already; the port of the first."""
        loop = asyncio.get_running_loop()
        for listener in streams:
            server = await loop.create_server(
                lambda: TcpConnection(self, loop), sock=listener, backlog=BACKLOG
            )
            self._listeners.append(server)
        for each in datagrams:
            each.setblocking(False)
            self._datagrams.append(each)
            loop.add_reader(each, self._read, each)
        return place_of([*datagrams, *streams][0])[1]

    @property
    def place(self) -> tuple[str, int]:
        """Address and port of one of our sockets."""
        address, port = self._datagrams[0].getsockname()[:2]
        return str(address), int(port)

    @property
    def replies(self) -> int:
        """By UDP."""
        return sum(self.counts.by_udp)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def close(self) -> None:
        """Answer what is under way, for a bounded time. What has not come in waits for who holds the sockets too."""
        loop = asyncio.get_running_loop()
        for datagrams in self._datagrams:
            loop.remove_reader(datagrams)
            datagrams.close()
        for listener in self._listeners:
            listener.close()
        self._datagrams.clear()
        await asyncio.sleep(0)  # what was accepted a moment ago is told to its connection now
        deadline = clock.monotonic() + CLOSE_SECONDS
        while any(each.is_busy for each in self._connections) and clock.monotonic() < deadline:
            for connection in tuple(self._connections):
                connection.close_when_idle()
            await asyncio.sleep(LOOK_SECONDS)
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    def authority_for(self, question: Question) -> Authority:
        """The catalog of zones is there for whoever signs, and for nobody else."""
        catalog = self.catalog
        if catalog is None or question.signature is None or not is_below(question.name, catalog.zone.apex):
            return self.authority
        return catalog.authority

    def enter(self, connection: "TcpConnection", address: str) -> tuple[Places, str] | None:
        """Its place, and what it is counted by there; None: there is no room for it."""
        block = address_block(address, count_loopback=True)
        found = None
        # by its own address: who shares a /64 with a secondary takes none of its places
        if address and self.access.expects(address) and self.kept_places.enter(connection, address):
            found = self.kept_places, address
        elif self.places.enter(connection, block):
            found = self.places, block
        if found is None:
            self.counts.connections_refused += 1
        else:
            self._connections.add(connection)
        return found

    def leave(self, connection: "TcpConnection") -> None:
        self._connections.discard(connection)

    def _read(self, datagrams: socket.socket) -> None:
        second = int(clock.monotonic())
        authority, admits, judge = self.authority, self.limiter.admits, self.limiter.judge
        receive, send = datagrams.recvfrom, datagrams.sendto
        rcodes = self.counts.by_udp
        for _ in range(BATCH):
            try:
                query, peer = receive(_MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:  # of an earlier reply: nobody listens there
                continue
            if not admits(peer[0], second):
                continue
            reply = answer(query, authority, udp=True)
            if reply.__class__ is Unusual:
                reply = self._answer_unusual(query, peer[0])
            if not isinstance(reply, Reply):
                continue
            verdict = judge(peer[0], reply.topic)
            if verdict is _DROP:
                continue
            rcodes[reply.wire[3] & 0x0F] += 1
            try:  # noqa: SIM105 - suppress costs a microsecond
                send(reply.wire if verdict is _SEND else truncate(reply), peer)
            except OSError:  # a full buffer or an unreachable asker: they ask again
                pass

    def _answer_unusual(self, query: bytes, address: str) -> Reply | None:
        """By UDP: what is signed, and IXFR. A question in earnest costs some 100 us, so that the rate of those
        counts as one topic.
        """
        now = int(clock.now().timestamp())
        question = read_question(query, self.access.keys, now)
        if isinstance(question, Refused):
            self._note_fault(address, question.reason)
            return question.reply
        if not isinstance(question, Question):
            return question
        if question.type == Type.IXFR:
            zone = self.authority_for(question).zone(question.name)
            wire = refuse_transfer(question, now) if zone is None else answer_ixfr_by_udp(question, zone, now)
        elif question.type == Type.AXFR:  # RFC 5936 §4.2: not by UDP
            wire = refuse_transfer(question, now)
        else:
            wire = answer_signed(question, self.authority_for(question), now, udp=True) or b""
        return Reply(wire, b"", 12) if wire else None

    def _note_fault(self, address: str, reason: str) -> None:
        """Of a secondary: BIND asks for the SOA by UDP, and comes no further."""
        now = clock.monotonic()
        is_due = now - self._told_at.get(address, float("-inf")) >= TOLD_AGAIN_SECONDS
        if is_due and self.access.expects(address):
            if len(self._told_at) >= _MAX_TOLD:
                self._told_at.clear()
            self._told_at[address] = now
            _log.warning("transfer-refused", extra={"peer": address, "reason": reason})


class TcpConnection(asyncio.Protocol):
    """Questions one after another, each with its length in front (RFC 7766); answered in their order."""

    def __init__(self, server: Nameserver, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._buffer = b""
        self._asked = False
        self._came_at = clock.monotonic()
        self._address = ""
        self._place: tuple[Places, str] | None = None
        self._questions = 0
        self._is_over = False
        """What is under way is its last."""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._life: asyncio.TimerHandle | None = None
        self._transfer: asyncio.Task[None] | None = None
        self._turn: asyncio.Handle | None = None
        """Of ours, while others have theirs."""
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # stream sockets alone; uvloop's transport is of no class of asyncio's
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        self._place = self._server.enter(self, self._address)
        if self._place is None:
            self._transport.abort()
            return
        self._life = self._loop.call_later(TCP_LIFE_SECONDS, self._end)
        self._transport.set_write_buffer_limits(high=TCP_WAITING_BYTES)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._life):
            if timer is not None:
                timer.cancel()
        if self._turn is not None:
            self._turn.cancel()
        if self._transfer is not None:
            self._transfer.cancel()
        if self._place is not None:
            self._place[0].leave(self, self._place[1])
        self._server.leave(self)

    def pause_writing(self) -> None:
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        self._continue()

    def _continue(self) -> None:
        if self._turn is None and self._may_go_on:
            self._go_on()

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer, or has just come to ask."""
        is_fresh = not self._asked and clock.monotonic() - self._came_at < FRESH_SECONDS
        return self._transfer is not None or bool(self._buffer) or is_fresh

    @property
    def is_transferring(self) -> bool:
        return self._transfer is not None

    def _end(self) -> None:
        """Once what was answered is sent: the idle timer ends one that does not read it."""
        self._is_over = True
        if self._transfer is None:
            self._transport.close()

    def close_when_idle(self) -> None:
        if not self.is_busy:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._serve()

    def _serve(self) -> None:
        if self._turn is None and not self._answer_some():
            # one wake-up may bring megabytes of questions, and everybody else would wait for the last of them
            self._transport.pause_reading()
            self._turn = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        self._serve()
        if self._turn is None and self._may_go_on:
            self._transport.resume_reading()

    @property
    def _may_go_on(self) -> bool:
        # who asks and does not read is answered no further
        return self._transfer is None and self._writable.is_set() and not self._transport.is_closing()

    def _answer_some(self) -> bool:
        """False: there may be more, when others have had their turn."""
        buffer, at = self._buffer, 0
        try:
            for _ in range(BATCH):
                length = int.from_bytes(buffer[at : at + 2], "big")
                if length > _MAX_QUERY:
                    self._transport.abort()
                end = at + 2 + length
                if len(buffer) < max(end, at + 2) or not self._may_go_on:
                    return True
                query, at = buffer[at + 2 : end], end
                self._asked = True
                self._questions += 1
                self._arm()
                self._answer(query)
                if self._questions >= TCP_QUESTIONS:
                    self._end()
            return self._transport.is_closing()
        finally:
            self._buffer = buffer[at:]
            if at and self._place is not None:
                self._place[0].touch(self, self._place[1])

    def _answer(self, query: bytes) -> None:
        reply = answer(query, self._server.authority, udp=False)
        if isinstance(reply, Reply):
            self._write(reply.wire)
        elif isinstance(reply, Unusual):
            self._answer_unusual(query)
        else:
            self._transport.abort()

    def _answer_unusual(self, query: bytes) -> None:
        server, now = self._server, int(clock.now().timestamp())
        question = read_question(query, server.access.keys, now)
        if isinstance(question, Refused):
            self._note_refusal(question.reason)
            self._write(question.reply.wire)
        elif not isinstance(question, Question):
            self._write(question.wire if question else b"")
        elif question.type in (Type.AXFR, Type.IXFR):
            zone = server.authority_for(question).zone(question.name)
            if not server.access.allows(question, self._address):
                reason = "no signature"
            elif zone is None:
                reason = "no such zone here"
            else:
                reason = "" if server.transfers < TRANSFERS else "too many at once"
            if zone is None or reason:
                self._note_refusal(reason)
                self._write(refuse_transfer(question, now))
                return
            self._transport.pause_reading()
            self._transfer = self._loop.create_task(self._send_zone(transfer(question, zone, now)))
            self._transfer.add_done_callback(self._finish_transfer)
        else:
            self._write(answer_signed(question, server.authority_for(question), now, udp=False) or b"")

    def _note_refusal(self, reason: str) -> None:
        _log.warning("transfer-refused", extra={"peer": self._address, "reason": reason})
        self._server.counts.transfers["refused"] += 1

    async def _send_zone(self, messages: Iterator[bytes]) -> None:
        self._server.transfers += 1
        count, outcome = 0, "cut"
        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                for message in messages:
                    self._arm()
                    self._write(message)
                    count += 1
                    await asyncio.sleep(0)
                    await self._writable.wait()
            outcome = "sent"
            _log.info("zone-transferred", extra={"peer": self._address, "messages": count})
        except TimeoutError:
            self._transport.abort()
        finally:
            self._server.transfers -= 1
            self._server.counts.transfers[outcome] += 1

    def _finish_transfer(self, task: "asyncio.Task[None]") -> None:
        self._transfer = None
        if self._is_over:
            self._transport.close()
        elif not task.cancelled():
            self._continue()

    def _write(self, wire: bytes) -> None:
        if wire:
            self._server.counts.by_tcp[wire[3] & 0x0F] += 1
            self._transport.write(len(wire).to_bytes(2, "big") + wire)
        else:
            self._transport.abort()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(TCP_IDLE_SECONDS, self._transport.abort)


def open_both(places: Sequence[Place]) -> tuple[list[socket.socket], list[socket.socket]]:
    """TCP and UDP sockets, at the same port where it is 0. Raises OSError."""
    streams = open_streams(places)
    datagrams: list[socket.socket] = []
    try:
        datagrams.extend(open_datagrams(place_of(listener)) for listener in streams)
    except OSError:
        for each in (*streams, *datagrams):
            each.close()
        raise
    return streams, datagrams
