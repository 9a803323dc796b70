"""A CA's server that never stops to answer: an octet a second, from its handshake, its header or its body on."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.pebble import make_certificate

from mailward.core.acme.settings import AcmeDirectory

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class DrippingServer:
    def __init__(self, folder: Path, where: str) -> None:
        """`where`: handshake, header or body."""
        self._where, self.sent = where, 0
        self._ca_file = folder / "ca.pem"
        make_certificate("127.0.0.1", self._ca_file, folder / "ca.key")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._ca_file, folder / "ca.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def directory(self) -> AcmeDirectory:
        port = self._listener.getsockname()[1]
        return AcmeDirectory(url=f"https://127.0.0.1:{port}/dir", ca_file=str(self._ca_file))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._is_closing.set()
        # wakes who accepts
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_closing.is_set():
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        if self._where == "handshake":
            connection.recv(4096)
            # a record of 16 KiB is to come, and its octets do
            self._drip(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            return
        with self._context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            if self._where == "header":
                self._drip(tls, _HEAD + b"X-More: ")
            else:
                tls.sendall(_HEAD + b"Content-Length: 1000\r\n\r\n")
                self._drip(tls, b"{")

    def _drip(self, connection: socket.socket, begin: bytes) -> None:
        connection.sendall(begin)
        while not self._is_closing.wait(1):
            connection.sendall(b"x")
            self.sent += 1
