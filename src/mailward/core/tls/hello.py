"""ClientHello and the answer to it (RFC 5246 section 7.4.1, RFC 8446 section 4.1)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mailward.core.tls.suites import names

VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
RANDOM_BYTES = 32
MAX_ANSWER_BYTES = 64 * 1024
CLOSE_NOTIFY = bytes.fromhex("15030100020100")
"""An alert: we have seen enough, and the server's log need not call it a broken connection."""
_NAMES = {code: name for name, code in VERSIONS.items()}
_GROUPS = (29, 23, 24, 25, 30, 256, 257, 258)  # x25519, three NIST curves, x448, ffdhe2048 to ffdhe4096
_SIGNATURES = bytes.fromhex("0403050306030807080808040805080604010501060102030201040205020602020201010301")
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2
_SUPPORTED_VERSIONS = 43
_SCSV = 0x00FF  # RFC 5746 §3.3: stands for the extension that some servers insist on
_RECORD_BYTES = 16 * 1024 + 2048


@dataclass(frozen=True, slots=True)
class Chosen:
    version: str
    """Such as `TLSv1.2`; empty where it is none of ours."""
    code: int

    @property
    def name(self) -> str:
        return names().get(self.code, f"0x{self.code:04X}")


@dataclass(frozen=True, slots=True)
class Refused:
    """An alert, or words that are no TLS."""

    reason: str


def make_hello(host: str, version: str, codes: Sequence[int], random: bytes) -> bytes:
    """One record that offers this version alone and these suites; `random` has RANDOM_BYTES. `host`: for SNI."""
    number = VERSIONS[version]
    is_newest = version == "TLSv1.3"
    suites = b"".join(struct.pack("!H", code) for code in (*codes, _SCSV))
    groups = b"".join(struct.pack("!H", group) for group in _GROUPS)
    extensions = [
        (0, _vector(b"\0" + _vector(host.encode("ascii"), 2), 2)),
        (10, _vector(groups, 2)),
        (11, _vector(b"\0", 1)),
        (23, b""),
    ]
    if number >= VERSIONS["TLSv1.2"]:
        extensions.append((13, _vector(_SIGNATURES, 2)))
    if is_newest:
        extensions.append((_SUPPORTED_VERSIONS, _vector(struct.pack("!H", number), 1)))
        # RFC 8446 §4.2.8: no share; the server then says which suite and group it would take
        extensions.append((51, _vector(b"", 2)))
    body = struct.pack("!H", min(number, VERSIONS["TLSv1.2"])) + random
    body += _vector(random if is_newest else b"", 1) + _vector(suites, 2) + _vector(b"\0", 1)
    body += _vector(b"".join(struct.pack("!H", kind) + _vector(data, 2) for kind, data in extensions), 2)
    message = b"\1" + _vector(body, 3)
    return struct.pack("!BH", _HANDSHAKE, VERSIONS["TLSv1"]) + _vector(message, 2)


class HelloAnswer:
    """Reads records until the server has chosen or refused."""

    def __init__(self) -> None:
        self.outcome: Chosen | Refused | None = None
        self._in, self._messages, self._received = b"", b"", 0

    def receive(self, data: bytes) -> None:
        """b"": the server has closed."""
        if self.outcome is not None:
            return
        self._received += len(data)
        self._in += data
        if not data:
            self.outcome = Refused("the connection was closed")
        elif self._received > MAX_ANSWER_BYTES:
            self.outcome = Refused(f"no choice within {MAX_ANSWER_BYTES} bytes")
        while self.outcome is None and len(self._in) >= 5:
            kind, _, size = struct.unpack("!BHH", self._in[:5])
            if kind not in (_ALERT, _HANDSHAKE) or size > _RECORD_BYTES:
                self.outcome = Refused("the answer is no TLS")
            elif len(self._in) < 5 + size:
                return
            else:
                content, self._in = self._in[5 : 5 + size], self._in[5 + size :]
                self._take(kind, content)

    def _take(self, kind: int, content: bytes) -> None:
        if kind == _ALERT:
            is_warning = content[:1] == b"\1" and content[1:2] != b"\0"  # such as unrecognized_name
            if not is_warning:
                self.outcome = Refused(f"alert {content[1]}" if len(content) > 1 else "an alert")
            return
        self._messages += content
        if len(self._messages) < 4:
            return
        size = int.from_bytes(self._messages[1:4], "big")
        if self._messages[0] != _SERVER_HELLO:
            self.outcome = Refused("the answer is no ServerHello")
        elif len(self._messages) >= 4 + size:
            self.outcome = _read_server_hello(self._messages[4 : 4 + size])


def _read_server_hello(body: bytes) -> Chosen | Refused:
    try:
        version, id_bytes = struct.unpack("!H32xB", body[:35])
        code, _ = struct.unpack("!HB", body[35 + id_bytes : 38 + id_bytes])
    except struct.error:
        return Refused("the ServerHello is cut off")
    version = _selected_version(body[40 + id_bytes :]) or version
    return Chosen(_NAMES.get(version, ""), code)


def _selected_version(extensions: bytes) -> int:
    """RFC 8446 §4.2.1; 0: the server knows nothing newer than TLS 1.2."""
    while len(extensions) >= 4:
        kind, size = struct.unpack("!HH", extensions[:4])
        data, extensions = extensions[4 : 4 + size], extensions[4 + size :]
        if kind == _SUPPORTED_VERSIONS and len(data) == 2:
            return int.from_bytes(data, "big")
    return 0


def _vector(data: bytes, size_bytes: int) -> bytes:
    return len(data).to_bytes(size_bytes, "big") + data
