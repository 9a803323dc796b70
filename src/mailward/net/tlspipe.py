"""TLS without a socket: bytes in, bytes out.

asyncio's own TLS hides a connection until its handshake is over, so that handshakes in progress cannot be
counted, and drops the alert that says why one failed. Here the connection sees both.
"""

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

_READ = 16 * 1024
"""A record holds no more (RFC 8446 section 5.1)."""

_HANDSHAKE = 22
_RECORD_HEADER = 5

ServerNameCallback = Callable[[ssl.SSLObject, Any, ssl.SSLContext], int | None]
"""The name is `str | None`; typeshed forgets the None, hence Any."""


class _NamedObject(ssl.SSLObject):
    """Remembers the name in the client's hello, which the ssl module tells to the callback alone."""

    server_name: str | None = None


def record_server_names(context: ssl.SSLContext) -> None:
    """Make `TlsPipe.server_name` work for connections of `context`; its own sni_callback goes on deciding."""
    if context.sslobject_class is _NamedObject:
        return
    decide: ServerNameCallback | None = context.sni_callback
    context.sslobject_class = _NamedObject

    def record(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> int | None:
        if isinstance(connection, _NamedObject) and name is not None:
            connection.server_name = name.lower().removesuffix(".")
        return decide(connection, name, first) if decide is not None else None

    context.sni_callback = record


def holds_record(data: bytes) -> bool:
    """Whether `data` has a whole record of a handshake (RFC 8446 section 5.1), or none can come of it."""
    if not data:
        return False
    if data[0] != _HANDSHAKE:
        return True
    if len(data) < _RECORD_HEADER:
        return False
    size = int.from_bytes(data[3:5], "big")
    return size > _READ or len(data) >= _RECORD_HEADER + size


class TlsPipe:
    """One connection's TLS. After every call, send what `outgoing()` returns."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """The client's side where `server_name` says whom it wants; it begins with `receive(b"")`."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = server_name is None
        # as text, the ssl module would make an A-label of it, slowly, which all our names are already
        name = None if server_name is None else server_name.encode("ascii")
        self._tls = context.wrap_bio(self._in, self._out, is_server, name)
        self.ready = False
        """Whether the handshake is over."""
        self.ended = False
        """Whether the peer has said that it sends no more."""

    @property
    def server_name(self) -> str | None:
        return self._tls.server_name if isinstance(self._tls, _NamedObject) else None

    @property
    def connection(self) -> ssl.SSLObject:
        """For what is known of the peer."""
        return self._tls

    def outgoing(self) -> bytes:
        return self._out.read() if self._out.pending else b""

    def receive(self, data: bytes) -> bytes:
        """The plain text that `data` completes. Raises ssl.SSLError; `outgoing()` then holds the alert."""
        self._in.write(data)
        try:
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
                if not self._in.pending and not self._tls.pending():
                    return b""  # asking for more would cost an exception
            return self._read()
        except ssl.SSLWantReadError:
            return b""

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._tls.read(_READ):
                parts.append(part)
                if not self._in.pending and not self._tls.pending():
                    return b"".join(parts)  # all there is: asking once more would cost an exception
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        self._tls.write(data)

    def end(self) -> None:
        """Say that we send no more (close_notify)."""
        with contextlib.suppress(
            ssl.SSLError
        ):  # it wants the peer's own close_notify, for which nobody waits
            self._tls.unwrap()
