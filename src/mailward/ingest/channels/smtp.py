"""The mail door: an SMTP server that takes TLS reports for the addresses that we gave out, and nothing else.

RFC 5321; RFC 8460 section 3: reports are delivered despite TLS failures, so STARTTLS is offered and never
required. `250` means committed; whatever goes wrong on our side is `451`, and the sender comes again.

A relay of ours may speak LMTP (RFC 2033) at the same door: it greets with LHLO, and gets a reply for each recipient.

aiosmtpd speaks the protocol. What it leaves open is bounded here: connections, time and memory.
"""

import asyncio
import ipaddress
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, AnyStr, cast

from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException

from mailward.core.proxyprotocol import ProxyHeaderInvalid, read_proxy_header
from mailward.ingest.accept import Arrival
from mailward.ingest.acceptor import Acceptor
from mailward.ingest.addresses import AddressBook, ReportAddress
from mailward.ingest.channels.smtpreplies import (
    FAILED,
    NO_HELLO,
    NOT_OURS,
    UNKNOWN,
    reply_to,
    worst,
)
from mailward.ingest.errors import StoreBusy
from mailward.net import clock
from mailward.net.listening import BACKLOG
from mailward.store.models import Door

_log = logging.getLogger("mailward.ingest.smtp")
# aiosmtpd logs every command there
logging.getLogger("mail.log").setLevel(logging.ERROR)

CLOSING = b"421 4.3.2 Mailward is being stopped, try again later\r\n"
CLOSE_SECONDS = 5.0
"""For what has come whole to be stored and answered; with the HTTPS door's, below the supervisor's patience."""
PROXY_SECONDS = 10.0
"""For a PROXY header, which a proxy sends at once."""
QUICK_SECONDS = 2.0
"""A sender that lets more pass between two commands is not waited for when the door closes."""
STALLED_SECONDS = 10.0
"""Without a whole command or a piece of a mail; whoever is at work needs less between two."""
_PLAIN_PATH = re.compile(r"<([A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,255})>(?: (.*))?", re.ASCII)
_LINE_END = b"\r\n"
_END = b".\r\n"
_END_OF_DATA = _LINE_END + _END
_ALL_THERE_IS = 2**31 - 1
"""More octets than a reader holds."""
LMTP_FORBIDDEN_PORT = 25
"""RFC 2033 §5: LMTP must not be spoken there, where queueing servers meet."""


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    message_bytes: int = 10 * 1024 * 1024
    line_bytes: int = 64 * 1024
    """How much is looked at in one piece; a command has 512, and a line of a mail may have any number."""
    recipients: int = 20
    bad_recipients: int = 10
    """Of one connection; then it is closed: nobody lists our addresses."""
    messages: int = 1_000
    """Of one connection."""
    commands: int = 100
    """Of each other kind, of one connection."""
    idle_seconds: float = 120
    session_seconds: float = 1_800
    connections: int = 500
    connections_an_address: int = 50
    """An IPv6 /64 counts as one. Loopback, where a relay of ours may run, is not counted."""
    buffered_bytes: int = 256 * 1024 * 1024
    """Of unfinished mails, all connections together."""


TlsContext = Callable[[], ssl.SSLContext | None]
IsRelay = Callable[[str], bool]
IsProxy = Callable[[str], bool]


@dataclass(slots=True)
class SmtpDoor:
    """What all connections share."""

    acceptor: Acceptor
    book: AddressBook
    domain: str
    limits: SmtpLimits
    tls_context: TlsContext
    is_relay: IsRelay
    is_proxy: IsProxy = lambda _: False

    connections: "set[_Connection]" = field(default_factory=set)
    by_address: Counter[str] = field(default_factory=Counter)
    buffered: int = 0
    """Bytes of unfinished mails."""
    closing: bool = False
    accepted: int = 0
    turned_away: int = 0
    encrypted: int = 0
    """Connections, since the start."""
    replies: Counter[str] = field(default_factory=Counter)
    """By their three digits."""

    def make_connection(self) -> "_Connection":
        return _Connection(self, asyncio.get_running_loop())

    def is_full(self, peer: str) -> bool:
        if self.by_address[peer] >= self.limits.connections_an_address:
            return True
        return len(self.connections) >= self.limits.connections and not self._make_room()

    def _make_room(self) -> bool:
        """End the connection that has done nothing for longest, if that is long."""
        waiting = [connection for connection in self.connections if not connection.storing]
        idlest = min(waiting, key=lambda connection: connection.moved_at, default=None)
        if idlest is None or clock.monotonic() - idlest.moved_at < STALLED_SECONDS:
            return False
        idlest.cut()
        return True


class _Envelope(Envelope):
    """One mail, with whose the recipients are."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[ReportAddress] = []
        """One for each recipient."""


class _Hooks:
    """What aiosmtpd asks of us. Each answer is one SMTP reply."""

    def __init__(self, door: SmtpDoor) -> None:
        self._door = door
        self._bad_recipients = 0

    def __dir__(self) -> list[str]:
        return _HOOKS  # as in _Connection

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: _Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offered = [line for line in responses if not line.startswith("250-AUTH")]
        # RFC 2033 §5: an LMTP server has these
        extensions = ["250-PIPELINING", "250-ENHANCEDSTATUSCODES"] if cast("_Connection", server).lmtp else []
        return [*offered[:1], *extensions, *offered[1:]]

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: _Envelope, address: str, options: Sequence[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= self._door.limits.recipients:
            return "452 4.5.3 Too many recipients"
        local, _, domain = address.rpartition("@")
        if domain.lower().removesuffix(".") != self._door.domain:
            return self._refuse(server, NOT_OURS)
        try:
            found = await self._door.book.find(local)
        except StoreBusy as error:
            _log.warning("address-not-looked-up", extra={"reason": str(error)})
            return "451 4.3.0 The address could not be looked up, try again later"
        if found is None:
            return self._refuse(server, UNKNOWN)
        envelope.rcpt_tos.append(address)
        envelope.addresses.append(found)
        return "250 2.1.5 OK"

    def _refuse(self, server: SMTP, reply: str) -> str:
        self._bad_recipients += 1
        if self._bad_recipients > self._door.limits.bad_recipients:
            asyncio.get_running_loop().call_soon(_transport_of(server).close)
            return "421 4.7.0 Too many unknown recipients"
        return reply

    async def store(self, envelope: _Envelope, *, from_relay: bool) -> list[str]:
        """Store the mail; a reply for each recipient, in their order."""
        received_at = clock.now()
        content = cast("bytes", envelope.content)
        # one copy for each of our addresses, however often it was named
        addresses = [
            each for at, each in enumerate(envelope.addresses) if each not in envelope.addresses[:at]
        ]
        outcomes = await asyncio.gather(
            *(
                self._door.acceptor.accept(
                    Arrival(Door.SMTP, address, content, received_at, from_relay=from_relay)
                )
                for address in addresses
            ),
            return_exceptions=True,
        )
        replies = [reply_to(outcome) for outcome in outcomes]
        return [replies[addresses.index(each)] for each in envelope.addresses]

    async def handle_VRFY(  # noqa: N802
        self, server: SMTP, session: Session, envelope: _Envelope, address: str
    ) -> str:
        return "502 5.5.1 VRFY is not offered"

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, TLSSetupException):  # what any stranger can do; its connection is closed
            _log.info("starttls-failed", extra={"reason": error.__cause__})
            return FAILED
        _log.error("smtp-failed", exc_info=error)
        return FAILED


class _Connection(SMTP):
    """One connection. The limits that aiosmtpd does not have are kept here."""

    def __init__(self, door: SmtpDoor, loop: asyncio.AbstractEventLoop) -> None:
        limits = door.limits
        self.line_length_limit = limits.line_bytes
        self._door = door
        self.peer = ""
        """The client's address; behind a proxy, as the proxy says it."""
        self._is_known = True
        """Whether `peer` is the client's, and not that of a proxy which does not say for whom it speaks."""
        self._is_greeted = False
        self._proxied: asyncio.Transport | None = None
        """While a PROXY header is to come, which `_proxy_header` is the beginning of."""
        self._proxy_header = b""
        self._counted = ""
        self._received = 0
        self._turned_away = False
        self.storing = False
        """A mail has come whole and is not answered yet."""
        self.lmtp = False
        self._reading = self._has_sent = self._said_goodbye = False
        self.moved_at = clock.monotonic()
        self._deadline: asyncio.TimerHandle | None = None
        self._hooks = _Hooks(door)
        super().__init__(
            self._hooks,
            hostname=door.domain,
            ident="ESMTP Mailward",
            data_size_limit=limits.message_bytes,
            timeout=limits.idle_seconds,
            tls_context=door.tls_context(),
            command_call_limit={
                "*": limits.commands,
                "MAIL": limits.messages,
                "DATA": limits.messages,
                "RCPT": limits.messages * limits.recipients,
                "RSET": limits.messages,
            },
            loop=loop,
        )

    def __dir__(self) -> list[str]:
        # aiosmtpd looks through all members of each connection for its commands: half of what one costs
        return _COMMANDS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        if self._is_greeted:  # the same one, encrypted by STARTTLS
            self._door.encrypted += 1
            super().connection_made(transport)
            return
        self.peer = _host(transport.get_extra_info("peername"))
        if not self._door.is_proxy(self.peer):
            self._welcome(transport)
        elif self._door.is_full(""):
            self._turn_away(transport)
        else:
            self._proxied, self._proxy_header = transport, b""
            self._door.connections.add(self)
            self._deadline = self.loop.call_later(PROXY_SECONDS, transport.abort)

    def _welcome(self, transport: asyncio.Transport) -> None:
        """Count the connection in, and greet."""
        self._counted = "" if _is_loopback(self.peer) else _network(self.peer)
        if self._door.is_full(self._counted):
            self._turn_away(transport)
            return
        self._door.connections.add(self)
        self._door.accepted += 1
        if self._counted:
            self._door.by_address[self._counted] += 1
        self._deadline = self.loop.call_later(self._door.limits.session_seconds, transport.abort)
        self._is_greeted = True
        super().connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport) -> None:
        self._turned_away = True
        self._door.turned_away += 1
        transport.write(b"421 4.3.2 Too many connections, try again later\r\n")
        transport.close()

    def _read_proxy_header(self, transport: asyncio.Transport, data: bytes) -> bytes:
        """What follows the header; empty where it is not complete, or the connection has ended."""
        try:
            header = read_proxy_header(data)
        except ProxyHeaderInvalid as error:
            _log.warning("proxy-header-invalid", extra={"peer": self.peer, "reason": error})
            transport.abort()
            return b""
        if header is None:
            self._proxy_header = data
            return b""
        self._proxied = None
        self._door.connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self.peer, self._is_known = header.source or self.peer, header.source is not None
        self._welcome(transport)
        return data[header.size :]

    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        if self._proxied is not None:
            data = self._read_proxy_header(self._proxied, self._proxy_header + data)
            if not data or self._turned_away:
                return
        self._received += len(data)
        self._door.buffered += len(data)
        limits = self._door.limits
        # aiosmtpd answers 552 once the mail ends; one that goes on and on is cut off before
        if self._received > 2 * limits.message_bytes or self._door.buffered > limits.buffered_bytes:
            _log.warning("smtp-cut", extra={"peer": self.peer, "bytes": self._received})
            _transport_of(self).write(b"421 4.3.1 Too much data\r\n")
            self.cut()
            return
        super().data_received(data)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self._is_greeted else False

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self._is_greeted:
            self._door.connections.discard(self)
            return
        if self in self._door.connections:
            self._door.connections.discard(self)
            self._forget_received()
            if self._counted:
                self._door.by_address[self._counted] -= 1
                if self._door.by_address[self._counted] <= 0:
                    del self._door.by_address[self._counted]
        # without the error, which a future would keep that nobody asks: Python says so in the log where it happens to
        # forget that one before the connection. What is under way is cancelled either way
        super().connection_lost(None)

    def _reset_timeout(self, duration: float | None = None) -> None:
        self.moved_at = clock.monotonic()
        super()._reset_timeout(duration)

    def _create_envelope(self) -> _Envelope:
        # called whenever a mail is over: answered, reset or given up
        self._forget_received()
        return _Envelope()

    def _forget_received(self) -> None:
        self._door.buffered -= self._received
        self._received = 0

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        # nearly every address is plain; the mail parser behind aiosmtpd's way costs as much as storing a
        # report
        match = _PLAIN_PATH.fullmatch(arg)
        return (match[1], match[2] or "") if match else super()._getaddr(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """As aiosmtpd does it, but in one piece instead of line by line, and without keeping what is too
        much.
        """
        if await self.check_helo_needed():
            return
        envelope = cast("_Envelope", self.envelope)
        if not envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: need RCPT command")
        elif arg:
            await self.push("501 5.5.4 Syntax: DATA")
        else:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            self._reading = True
            content = await self._read_content()
            self._reading, self._has_sent = False, True
            if content is None:
                too_large = f"552 5.3.4 A mail has {self._door.limits.message_bytes} bytes at most"
                replies = [too_large] * len(envelope.rcpt_tos)
                self.envelope = self._create_envelope()
            else:
                envelope.content = content
                self.storing = True
                try:
                    replies = await self._hooks.store(envelope, from_relay=self._is_relay)
                    told = worst(replies)
                    _log.info("mail", extra={"peer": self.peer, "bytes": len(content), "status": told[:3]})
                except BaseException:
                    self.storing = False
                    raise
                finally:
                    self.envelope = self._create_envelope()
            # RFC 2033 §4.2: one for each recipient that was taken. By SMTP, one that was stored is found again when the
            # sender comes with all of them once more
            for reply in replies if self.lmtp else [worst(replies)]:
                await self.push(reply)
            self.storing = False
            if self._door.closing:
                self.say_goodbye()

    async def _read_content(self) -> bytes | None:
        """The mail, its dots restored (RFC 5321 §4.5.2); None: it is too large, and was passed over."""
        # a mail without a line ends with its first three octets: behind a line end, one way to look for the end serves
        # all. To look for the dot alone would give a piece for each line that ends in one, which may be all of them
        self._reader.feed_data(_LINE_END + await self._reader.read(_ALL_THERE_IS))
        pieces: list[bytes] = []
        size, is_over = -len(_LINE_END) - len(_END), False
        while not is_over:
            try:
                piece = await self._reader.readuntil(_END_OF_DATA)
                is_over = True
            except asyncio.LimitOverrunError as error:
                piece = await self._reader.read(error.consumed)
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError from error
            self._reset_timeout()
            size += len(piece)
            if size <= self._door.limits.message_bytes:
                pieces.append(piece)
            else:
                pieces.clear()
        if size > self._door.limits.message_bytes:
            return None
        content = b"".join(pieces)[len(_LINE_END) : -len(_END)]
        return content.removeprefix(b".").replace(b"\r\n.", b"\r\n")

    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802
        """RFC 2033 §4.1: the greeting of LMTP, for relays of ours."""
        own_port = _transport_of(self).get_extra_info("sockname")[1]
        if not self._is_relay or own_port == LMTP_FORBIDDEN_PORT:
            await self.push("500 5.5.1 LHLO is for relays of ours, and not for port 25")
            return
        self.lmtp = True
        await super().smtp_EHLO(arg)

    @property
    def _is_relay(self) -> bool:
        return self._is_known and self._door.is_relay(self.peer)

    async def smtp_EHLO(self, arg: str) -> None:  # noqa: N802
        await (self.push(NO_HELLO) if self.lmtp else super().smtp_EHLO(arg))

    async def smtp_HELO(self, arg: str) -> None:  # noqa: N802
        await (self.push(NO_HELLO) if self.lmtp else super().smtp_HELO(arg))

    async def push(self, status: AnyStr) -> None:
        reply = status if isinstance(status, str) else status.decode("ascii", "replace")
        self._door.replies[reply[:3]] += 1
        await super().push(status)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        await self.push("502 5.5.1 AUTH is not offered")

    async def smtp_EXPN(self, arg: str) -> None:  # noqa: N802
        await self.push("502 5.5.1 EXPN is not offered")

    def say_goodbye(self) -> None:
        """End what has no mail under way; RFC 5321 §3.8 lets a server that is stopped say so at any time."""
        if self._proxied is not None and not self._is_quick:
            self.cut()
            return
        if self.storing or self.transport is None or self.session is None or self._said_goodbye:
            return
        if self._is_at_work:
            return
        self._said_goodbye = True
        if self._tls_protocol is not None and self.session.ssl is None:  # in the middle of its handshake
            self.cut()
            return
        _transport_of(self).write(CLOSING)
        _transport_of(self).close()

    @property
    def _is_at_work(self) -> bool:
        """Whether a mail of this sender's is under way, or its first one is to be expected."""
        is_in_mail = self.envelope is not None and self.envelope.mail_from is not None
        return self._is_quick and (is_in_mail or self._reading or not self._has_sent)

    @property
    def _is_quick(self) -> bool:
        return clock.monotonic() - self.moved_at < QUICK_SECONDS

    def cut(self) -> None:
        if self._proxied is not None:
            self._proxied.abort()
        elif self.transport is not None:
            _transport_of(self).abort()


_COMMANDS = [name for name in vars(SMTP) | vars(_Connection) if name.startswith("smtp_")]
_HOOKS = [name for name in vars(_Hooks) if name.startswith("handle_")]


class SmtpServer:
    """A running mail door."""

    def __init__(self, listeners: Sequence[asyncio.Server], door: SmtpDoor) -> None:
        self._listeners, self.door = listeners, door
        self.port: int = listeners[0].sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take nothing new, finish the mail of whoever is at work, and send the rest away: it comes again.

        Who has just come, or is between two commands of a mail, is let finish: a 421 would have the sender wait for
        its next try, a quarter of an hour or more.
        """
        for listener in self._listeners:
            listener.close()
        self.door.closing = True
        await asyncio.sleep(0)  # what was accepted a moment ago is told to its connection now
        deadline = clock.monotonic() + CLOSE_SECONDS
        while self.door.connections and clock.monotonic() < deadline:
            for connection in list(self.door.connections):
                connection.say_goodbye()
            await asyncio.sleep(0.02)
        for connection in list(self.door.connections):
            connection.cut()
        await asyncio.sleep(0)


async def serve_smtp(
    acceptor: Acceptor,
    book: AddressBook,
    *,
    domain: str,
    sockets: Sequence[socket.socket],
    limits: SmtpLimits | None = None,
    tls_context: TlsContext = lambda: None,
    is_relay: IsRelay = lambda _: False,
    is_proxy: IsProxy = lambda _: False,
) -> SmtpServer:
    """Take report mail for `<token>@domain` until closed, on sockets that listen already.

    `tls_context` is asked at each connection, so that a new certificate is used at once; None: no STARTTLS.
    `is_relay` says of a peer's address whether its Authentication-Results may be believed. Connections from addresses
    for which `is_proxy` is true have to begin with a PROXY header, and count for the client that it names.
    """
    door = SmtpDoor(acceptor, book, domain.lower(), limits or SmtpLimits(), tls_context, is_relay, is_proxy)
    loop = asyncio.get_running_loop()
    listeners = [
        await loop.create_server(door.make_connection, sock=each, backlog=BACKLOG) for each in sockets
    ]
    return SmtpServer(listeners, door)


def _transport_of(server: SMTP) -> asyncio.Transport:
    # uvloop's and ssl's transports are no asyncio.Transport by class, only by their methods
    return cast("asyncio.Transport", server.transport)


def _host(peer: Any) -> str:  # noqa: ANN401 - the shape depends on the address family
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _network(host: str) -> str:
    """What one guest can have many of: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return host
