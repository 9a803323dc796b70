"""A mail server that answers ClientHellos from a list of cipher suites, such as OpenSSL of today has not."""

import socket
import struct

from tests.fakes.mailserver import FakeMailServer

ALERT_HANDSHAKE_FAILURE = bytes.fromhex("15030100020228")


class PickyServer(FakeMailServer):
    """`accepts`: the suites of each version, by their numbers, the favourite first."""

    def __init__(self, accepts: dict[int, list[int]]) -> None:
        super().__init__()
        self.accepts = accepts
        self.hellos: list[tuple[int, list[int]]] = []
        """Version and suites of each."""
        self.always: bytes | None = None
        """An answer to whatever is offered."""

    def _shake_hands(self, connection: socket.socket, slipped_in: bytes) -> bool:
        kind, _, size = struct.unpack("!BHH", _read(connection, 5))
        assert kind == 22
        version, suites = _read_hello(_read(connection, size))
        self.hellos.append((version, suites))
        chosen = next((code for code in self.accepts.get(version, ()) if code in suites), None)
        answer = ALERT_HANDSHAKE_FAILURE if chosen is None else server_hello(version, chosen)
        connection.sendall(answer if self.always is None else self.always)
        return True


def server_hello(version: int, code: int) -> bytes:
    body = struct.pack("!H", min(version, 0x0303)) + bytes(32) + b"\0" + struct.pack("!HB", code, 0)
    body += b"\0\6" + bytes.fromhex("002b0002") + struct.pack("!H", version) if version == 0x0304 else b""
    message = b"\2" + len(body).to_bytes(3, "big") + body
    # in two records, as servers may
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(part)) + part for part in (message[:7], message[7:]))


def _read_hello(message: bytes) -> tuple[int, list[int]]:
    body = message[4:]
    (version,) = struct.unpack("!H", body[:2])
    at = 35 + body[34]
    (size,) = struct.unpack("!H", body[at : at + 2])
    suites = list(struct.unpack(f"!{size // 2}H", body[at + 2 : at + 2 + size]))
    is_newest = bytes.fromhex("002b0003020304") in body
    return 0x0304 if is_newest else version, suites


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data)) or _end()
    return data


def _end() -> bytes:
    raise OSError("the client has closed")
