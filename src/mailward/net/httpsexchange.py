"""One HTTPS request on a connection of its own, which leaves with the last of the handshake.

asyncio's streams over its own TLS cost half as much again as the cryptography: a task woken for each step, the
certificate read twice, a timer more. Here one object sees the handshake, the request and the response.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mailward.net.tlspipe import TlsPipe

_PIECE_BYTES = 16 * 1024  # given to the reader at a time, so that its limits hold before more is kept


@dataclass(frozen=True, slots=True)
class TlsFacts:
    version: str
    cipher: str
    issuer: str
    names: tuple[str, ...]
    """DNS-IDs of the certificate."""
    expires: str
    """As OpenSSL writes it: `Jun  1 12:00:00 2027 GMT`."""


class Reader(Protocol):
    """Takes the response as it comes. Both raise what `HttpsExchange.done` is to raise."""

    def feed(self, data: bytes) -> bool:
        """Whether it has all it wants."""

    def end(self) -> None:
        """The peer sends no more."""


class HttpsExchange(asyncio.Protocol):
    """Await `done`: it raises what the reader raises, ssl.SSLError or OSError. Whoever waits bounds the time, and
    ends the connection.
    """

    def __init__(self, pipe: TlsPipe, request: bytes, reader: Reader, on_ready: Callable[[], None]) -> None:
        """`on_ready` is called when the handshake is over, the certificate judged."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_note_outcome)
        self._pipe = pipe
        self._request = request
        self._reader = reader
        self._on_ready = on_ready

    @property
    def is_ready(self) -> bool:
        return self._pipe.ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # stream sockets alone
        self.data_received(b"")  # the handshake begins with us

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        was_ready = self._pipe.ready
        try:
            plain = self._pipe.receive(data)
            if self._pipe.ready and not was_ready:
                self._on_ready()
                self._pipe.send(self._request)
            self._send()
            self._read(plain)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self._send()  # the alert
            self._finish(error)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if not self._pipe.ready:
            self._finish(exc or ConnectionResetError("the peer closed the connection during the handshake"))
        elif exc is not None:
            self._finish(exc)
        else:
            self._end()

    def _send(self) -> None:
        if data := self._pipe.outgoing():
            self._transport.write(data)

    def _read(self, plain: bytes) -> None:
        for start in range(0, len(plain), _PIECE_BYTES):
            if self._reader.feed(plain[start : start + _PIECE_BYTES]):
                self._finish(None)
                return
        if self._pipe.ended:
            self._end()

    def _end(self) -> None:
        try:
            self._reader.end()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self._finish(error)
        else:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self.done.done():  # whoever waited may be gone
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


def _note_outcome(done: "asyncio.Future[None]") -> None:
    """Whoever waited may have gone at the same moment: that an error finds nobody is no mistake."""
    if not done.cancelled():
        done.exception()


def tls_facts(connection: ssl.SSLObject) -> TlsFacts:
    certificate: dict[str, Any] = dict(
        connection.getpeercert() or {}
    )  # Any: the standard library's loose shape
    pairs = [pair for names in certificate.get("issuer", ()) for pair in names]
    issuer = ", ".join(str(value) for name, value in pairs if name in ("organizationName", "commonName"))
    names = tuple(str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
    cipher = connection.cipher()
    return TlsFacts(
        connection.version() or "",
        cipher[0] if cipher else "",
        issuer,
        names,
        str(certificate.get("notAfter", "")),
    )
