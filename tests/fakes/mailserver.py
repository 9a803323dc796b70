"""A mail server on loopback that says what it is told to, however wrong; with real TLS where it has a certificate."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

GREETING = b"220 mx.example.test ESMTP\r\n"
EHLO = b"250-mx.example.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
GO_AHEAD = b"220 2.0.0 ready\r\n"


class FakeMailServer:
    """`commands` keeps what came. It ends or hangs at `connect`, after a command, or after the 220 to STARTTLS."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        greeting: bytes = GREETING,
        ehlo: bytes = EHLO,
        starttls: bytes = GO_AHEAD,
        ends_after: str = "",
        hangs_after: str = "",
        is_injectable: bool = False,
    ) -> None:
        self.replies = {"EHLO": ehlo, "STARTTLS": starttls, "QUIT": b"221 bye\r\n"}
        self.greeting, self.context = greeting, context
        self.ends_after, self.hangs_after = ends_after, hangs_after
        self.is_injectable = is_injectable
        """Whether what came in the clear behind STARTTLS is carried out over TLS, the mistake of 2011."""
        self.commands: list[str] = []
        self.port = 0
        self._over = threading.Event()

    @contextlib.contextmanager
    def running(self, address: str = "127.0.0.1") -> Iterator["FakeMailServer"]:
        self._over.clear()
        with socket.create_server((address, self.port)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._over.set()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    def _accept(self, listener: socket.socket) -> None:
        """One connection after another."""
        while not self._over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, ValueError):
                self._talk(connection)
            with contextlib.suppress(OSError):
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        if self._stops("connect"):
            return
        connection.settimeout(10)
        connection.sendall(self.greeting)
        self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while line := _read_line(connection):
            command = line.split()[0].upper()
            self.commands.append(line)
            if self._stops(command):
                return
            starts_tls = command == "STARTTLS" and self.replies["STARTTLS"].startswith(b"220")
            slipped_in = _take_all(connection) if starts_tls else b""
            connection.sendall(self.replies.get(command, b"500 what?\r\n"))
            if starts_tls:
                if self._stops("220"):
                    return
                if self._shake_hands(connection, slipped_in):
                    return

    def _shake_hands(self, connection: socket.socket, slipped_in: bytes) -> bool:
        """Whether that was all; without a certificate the server goes on in the clear."""
        if self.context is None:
            return False
        with self.context.wrap_socket(connection, server_side=True) as encrypted:
            if self.is_injectable and slipped_in:
                encrypted.sendall(b"250 2.0.0 Ok\r\n")
            self._answer(encrypted)
        return True

    def _stops(self, step: str) -> bool:
        if step == self.hangs_after:
            self._over.wait(30)
        return step in (self.ends_after, self.hangs_after)


def _take_all(connection: socket.socket) -> bytes:
    """What has come already; sound servers forget it."""
    connection.setblocking(False)
    try:
        return connection.recv(4096)
    except BlockingIOError:
        return b""
    finally:
        connection.settimeout(10)


def _read_line(connection: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        if not data:
            return ""
        line += data
    return line.decode("latin-1").strip()
