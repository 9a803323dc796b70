"""One look at a mail server over SMTP: greeting, EHLO, STARTTLS with the chain as presented, QUIT.

Only a vetted address is connected to. Every wait has an end, every byte counts, and whatever goes wrong is told apart:
nobody listens, nothing was heard, we were turned away, TLS does not work. No mail is sent.
"""

import asyncio
import errno
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailward.core.check.facts import Depth, Reach, Session
from mailward.core.smtp.opening import Opening, Reason, Step
from mailward.net.guard import AddressRefused, Guard, OwnAddressRefused
from mailward.net.quota import Quota
from mailward.net.tlsdial import VERSIONS, TlsFailed, TlsLook

_READ_BYTES = 4096
_MAX_BYTES = 512 * 1024
_INJECTED = b"NOOP\r\n"
_LISTEN_SECONDS = 3.0  # for an answer to it
NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. RFC 5321 section 4.5.3.2 grants minutes; who waits longer for a greeting is told "not observed"."""

    connect: float = 10.0
    answer: float = 30.0
    """Waiting for something to come."""
    total: float = 90.0
    pause: float = 0.2
    """Between connections to one address that come one after another."""
    many: float = 180.0
    """For all connections that ask for cipher suites."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who looks, and how."""

    ehlo_name: str
    guard: Guard
    ca_file: Path | None = None
    """Replaces the system's authorities."""
    port: int = 25
    patience: Patience = field(default_factory=Patience)
    sources: tuple[str, str] = ("", "")
    """The IPv4 and IPv6 addresses to connect from; empty: the system chooses."""
    quota: Quota | None = None
    """How many connections an address may have; None: whoever calls counts them."""

    def source_for(self, address: str) -> tuple[str, int] | None:
        source = self.sources[":" in address]
        return (source, 0) if source else None


@dataclass(frozen=True, slots=True)
class Way:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    patience: Patience


async def dial(host: str, address: str, caller: Caller, *, version: int | None = None) -> Session:
    """What the MX host `host` shows at this address. Raises nothing for what a server does or does not do.

    `version`: of tlsdial.VERSIONS, no other is then offered.
    """
    session, way = await connect(address, caller)
    if way is None:
        return session
    try:
        return await _talk(session, way, caller.ehlo_name, TlsLook(host, caller.ca_file, version))
    finally:
        way.writer.transport.abort()


async def dial_deep(host: str, address: str, caller: Caller) -> Depth:
    """Five connections more, one after another: each TLS version alone, and a command slipped in before TLS. Which
    cipher suites are accepted, net.ciphers asks.
    """
    accepted = []
    for version in VERSIONS:
        tls = (await dial(host, address, caller, version=version)).tls
        if tls is not None:
            accepted.append((tls.version, tls.cipher))
        await asyncio.sleep(caller.patience.pause)
    return Depth(tuple(accepted), await _slip_in(host, address, caller))


async def _slip_in(host: str, address: str, caller: Caller) -> bool | None:
    """Whether the server answers over TLS to a NOOP that came in the clear behind STARTTLS (RFC 3207 section 4.2)."""
    _, way = await connect(address, caller)
    if way is None:
        return None
    look, opening = TlsLook(host, caller.ca_file), Opening(caller.ehlo_name)
    try:
        async with asyncio.timeout(way.patience.total):
            await speak(opening, None, way, behind_starttls=_INJECTED)
            if opening.step is not Step.HANDSHAKE:
                return None
            await _shake_hands(look, way)
            return await _hears_answer(look, way)
    except (OSError, TlsFailed):  # TimeoutError too
        return None
    finally:
        way.writer.transport.abort()


async def _hears_answer(look: TlsLook, way: Way) -> bool:
    """Whether anything is said over TLS before we have said a word there."""
    try:
        async with asyncio.timeout(_LISTEN_SECONDS):
            while data := await way.reader.read(_READ_BYTES):
                if look.receive(data):
                    return True
    except TimeoutError:
        pass
    return False


async def connect(address: str, caller: Caller) -> tuple[Session, Way | None]:
    """The way to a vetted address; without one, the session says why."""
    session, patience, port = Session(address, Reach.SILENT), caller.patience, caller.port
    try:
        caller.guard.check(address, port)
        if caller.quota is not None and (full := await caller.quota.take(address, 1)):
            return replace(session, reason=full), None
        async with asyncio.timeout(patience.connect):
            reader, writer = await asyncio.open_connection(
                address, port, limit=_READ_BYTES, local_addr=caller.source_for(address)
            )
    except OwnAddressRefused as error:
        return replace(session, reason=str(error)), None
    except AddressRefused as error:
        return replace(session, reach=Reach.FORBIDDEN, reason=str(error)), None
    except ConnectionRefusedError:
        return replace(session, reach=Reach.REFUSED, reason=f"port {port}: connection refused"), None
    except TimeoutError:
        reason = f"port {port}: no connection within {patience.connect:g} seconds"
        return replace(session, reason=reason), None
    except OSError as error:
        where = "no route from here" if error.errno in NO_ROUTE else error.strerror or str(error)
        return replace(session, reason=f"port {port}: {where}"), None
    return session, Way(reader, writer, patience)


async def _talk(session: Session, way: Way, ehlo_name: str, look: TlsLook) -> Session:
    opening, reason, tls_error = Opening(ehlo_name), "", ""
    try:
        async with asyncio.timeout(way.patience.total):
            await speak(opening, None, way)
            if opening.step is Step.HANDSHAKE:
                await _shake_hands(look, way)
                opening.go_on_in_tls()
                await speak(opening, look, way)
    except TimeoutError:
        reason = f"no answer in time at the step {opening.step}"
    except TlsFailed as error:
        tls_error = str(error)
        _send_alert(look, way)
    except OSError as error:
        reason = error.strerror or "the connection broke"
        if opening.step is Step.HANDSHAKE:
            tls_error = "the connection was closed during the handshake"
    if look.ready:
        return replace(
            session,
            reach=Reach.SPOKE,
            banner=opening.greeting,
            extensions=opening.extensions,
            tls=look.facts(),
            extensions_in_tls=opening.extensions_in_tls,
        )
    return _without_tls(session, opening, reason, tls_error)


async def speak(opening: Opening, look: TlsLook | None, way: Way, behind_starttls: bytes = b"") -> None:
    """Until it is the turn of TLS, or over. Raises TimeoutError, OSError, TlsFailed."""
    received = 0
    while True:
        if out := opening.outgoing():
            if look is not None:
                look.send(out)
                out = look.outgoing()
            way.writer.write(out + (behind_starttls if opening.step is Step.STARTTLS else b""))
            await way.writer.drain()
        if opening.step in (Step.HANDSHAKE, Step.CLOSING):
            return
        data = await read(way)
        received += len(data)
        if received > _MAX_BYTES:
            raise OSError(f"the server sends more than {_MAX_BYTES} bytes")
        if look is not None and data:
            data = look.receive(data)
            if not data:
                continue  # a record of TLS itself, such as a session ticket
        opening.receive(data)


async def _shake_hands(look: TlsLook, way: Way) -> None:
    while True:
        way.writer.write(look.outgoing())
        await way.writer.drain()
        if look.ready:
            return
        data = await read(way)
        if not data:
            raise TlsFailed("the connection was closed during the handshake")
        look.receive(data)


async def read(way: Way) -> bytes:
    async with asyncio.timeout(way.patience.answer):
        return await way.reader.read(_READ_BYTES)


def _send_alert(look: TlsLook, way: Way) -> None:
    """The server's log then says why we left."""
    if not way.writer.is_closing():
        way.writer.write(look.outgoing())


def _without_tls(session: Session, opening: Opening, reason: str, tls_error: str) -> Session:
    """What a look that came to no handshake says: about the server, or only about our luck."""
    seen = replace(session, banner=opening.greeting, extensions=opening.extensions)
    if opening.reason is Reason.NOT_OFFERED:
        return replace(seen, reach=Reach.SPOKE)
    if opening.reason is Reason.REFUSED:
        return replace(seen, reach=Reach.SPOKE, starttls_reply=opening.text)
    if opening.reason is Reason.BROKEN and opening.offers_starttls:
        return replace(seen, reach=Reach.SPOKE, tls_error=opening.text)
    if opening.reason is Reason.TURNED_AWAY and opening.text[:3].isdigit():
        return replace(seen, reach=Reach.TURNED_AWAY, reason=f"it says {opening.text}")
    reach = Reach.SPOKE if opening.extensions else Reach.SILENT
    return replace(seen, reach=reach, reason=reason or opening.text, tls_error=tls_error)
