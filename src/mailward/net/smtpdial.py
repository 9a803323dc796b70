"""One look at a mail server over SMTP: greeting, EHLO, STARTTLS with the chain as presented, QUIT.

Only a vetted address is connected to. Every wait has an end, every byte counts, and whatever goes wrong is told apart:
nobody listens, nothing was heard, we were turned away, TLS does not work. No mail is sent.
"""

import asyncio
import errno
from dataclasses import dataclass, replace
from pathlib import Path

from mailward.core.check.facts import Reach, Session
from mailward.core.smtp.opening import Opening, Reason, Step
from mailward.net.guard import AddressRefused, Guard
from mailward.net.tlsdial import TlsFailed, TlsLook

_READ_BYTES = 4096
_MAX_BYTES = 512 * 1024
NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. RFC 5321 section 4.5.3.2 grants minutes; who waits longer for a greeting is told "not observed"."""

    connect: float = 10.0
    answer: float = 30.0
    """Waiting for something to come."""
    total: float = 90.0


@dataclass(frozen=True, slots=True)
class _Way:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    patience: Patience


async def dial(
    host: str,
    address: str,
    *,
    ehlo_name: str,
    guard: Guard,
    ca_file: Path | None = None,
    port: int = 25,
    patience: Patience = Patience(),
) -> Session:
    """What the MX host `host` shows at this address. Raises nothing for what a server does or does not do."""
    session = Session(address, Reach.SILENT)
    try:
        guard.check(address)
    except AddressRefused as error:
        return replace(session, reach=Reach.FORBIDDEN, reason=str(error))
    try:
        async with asyncio.timeout(patience.connect):
            reader, writer = await asyncio.open_connection(address, port, limit=_READ_BYTES)
    except ConnectionRefusedError:
        return replace(session, reach=Reach.REFUSED, reason=f"port {port}: connection refused")
    except TimeoutError:
        return replace(session, reason=f"port {port}: no connection within {patience.connect:g} seconds")
    except OSError as error:
        where = "no route from here" if error.errno in NO_ROUTE else error.strerror or str(error)
        return replace(session, reason=f"port {port}: {where}")
    try:
        return await _talk(host, session, _Way(reader, writer, patience), ehlo_name, ca_file)
    finally:
        writer.transport.abort()


async def _talk(host: str, session: Session, way: _Way, ehlo_name: str, ca_file: Path | None) -> Session:
    opening, look, reason, tls_error = Opening(ehlo_name), TlsLook(host, ca_file), "", ""
    try:
        async with asyncio.timeout(way.patience.total):
            await _speak(opening, None, way)
            if opening.step is Step.HANDSHAKE:
                await _shake_hands(look, way)
                opening.go_on_in_tls()
                await _speak(opening, look, way)
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


async def _speak(opening: Opening, look: TlsLook | None, way: _Way) -> None:
    """Until it is the turn of TLS, or over. Raises TimeoutError, OSError, TlsFailed."""
    received = 0
    while True:
        if out := opening.outgoing():
            if look is not None:
                look.send(out)
                out = look.outgoing()
            way.writer.write(out)
            await way.writer.drain()
        if opening.step in (Step.HANDSHAKE, Step.CLOSING):
            return
        data = await _read(way)
        received += len(data)
        if received > _MAX_BYTES:
            raise OSError(f"the server sends more than {_MAX_BYTES} bytes")
        if look is not None and data:
            data = look.receive(data)
            if not data:
                continue  # a record of TLS itself, such as a session ticket
        opening.receive(data)


async def _shake_hands(look: TlsLook, way: _Way) -> None:
    while True:
        way.writer.write(look.outgoing())
        await way.writer.drain()
        if look.ready:
            return
        data = await _read(way)
        if not data:
            raise TlsFailed("the connection was closed during the handshake")
        look.receive(data)


async def _read(way: _Way) -> bytes:
    async with asyncio.timeout(way.patience.answer):
        return await way.reader.read(_READ_BYTES)


def _send_alert(look: TlsLook, way: _Way) -> None:
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
