"""TLS without a socket: bytes in, bytes out.

asyncio's own TLS hides a connection until its handshake is over, so that handshakes in progress cannot be
counted, and drops the alert that says why one failed. Here the connection sees both.
"""

import re
import ssl
from collections.abc import Callable
from typing import Any

_READ = 16 * 1024
"""A record holds no more (RFC 8446 section 5.1)."""

_HANDSHAKE = 22
_RECORD_HEADER = 5

_SERVER_NAME = re.compile(rb"\0\0\0.\0.\0\0(.)([0-9A-Za-z._-]+)", re.DOTALL)
"""The extension with one name (RFC 6066 section 3): type, two lengths, type of name, length of the name, the name."""

ServerNameCallback = Callable[[ssl.SSLObject, Any, ssl.SSLContext], int | None]
"""The name is `str | None`; typeshed forgets the None, hence Any."""


class NamedObject(ssl.SSLObject):
    """Remembers the name in the client's hello, which the ssl module tells to the callback alone."""

    server_name: str | None = None


class NamingContext(ssl.SSLContext):
    """One whose sni_callback `recording` or `confirming` made. As an attribute of ten thousand contexts this would take
    6 MiB.
    """

    sslobject_class = NamedObject


def recording(decide: ServerNameCallback | None) -> ServerNameCallback:
    """An sni_callback that remembers the name. `decide` is not asked about the name that the context is for already."""

    def record(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> int | None:
        if isinstance(connection, NamedObject):
            heard = None if name is None else name.lower().removesuffix(".")
            if heard is not None and heard == connection.server_name:
                return None
            connection.server_name = heard
        return decide(connection, name, first) if decide is not None else None

    return record


def confirming(decide: ServerNameCallback) -> ServerNameCallback:
    """Of a context that is for one name: `decide` corrects who was given it by a wrong guess. Where nobody guessed, as
    at the mail door, it is for whoever comes, by any name or none.
    """
    record = recording(decide)

    def confirm(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> int | None:
        if isinstance(connection, NamedObject) and connection.server_name is not None:
            return record(connection, name, first)
        return None

    return confirm


def record_server_names(context: ssl.SSLContext) -> None:
    """Make `TlsPipe.server_name` work for connections of `context`; its own sni_callback goes on deciding."""
    if context.sslobject_class is not NamedObject:
        context.sslobject_class = NamedObject
        context.sni_callback = recording(context.sni_callback)


def guess_server_name(hello: bytes) -> str | None:
    """The name that a client's hello seems to have, in lower case. OpenSSL reads it again and has the last word: the
    guess spares it from changing the context in the middle of the handshake, which costs as much as all that we do.
    """
    found = _SERVER_NAME.search(hello)
    return None if found is None else found[2][: found[1][0]].decode("ascii").lower()


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

    def __init__(
        self, context: ssl.SSLContext, server_name: str | None = None, *, chosen_for: str | None = None
    ) -> None:
        """The client's side where `server_name` says whom it wants; it begins with `receive(b"")`. On the server's side
        `chosen_for` is the name that `context` is for already, if the client asks for it.
        """
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = server_name is None
        # as text, the ssl module would make an A-label of it, slowly, which all our names are already
        name = None if server_name is None else server_name.encode("ascii")
        self._tls = context.wrap_bio(self._in, self._out, is_server, name)
        if chosen_for is not None and isinstance(self._tls, NamedObject):
            self._tls.server_name = chosen_for
        self.ready = False
        """Whether the handshake is over."""
        self.ended = False
        """Whether the peer has said that it sends no more."""

    @property
    def server_name(self) -> str | None:
        return self._tls.server_name if isinstance(self._tls, NamedObject) else None

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
        try:  # noqa: SIM105 - suppress costs a microsecond
            self._tls.unwrap()
        except ssl.SSLError:  # it wants the peer's own close_notify, for which nobody waits
            pass
