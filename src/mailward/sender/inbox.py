"""What other processes of ours have to count, on its way to the collector: the only one that writes."""

import contextlib
import socket

import msgspec

from mailward.core.tlsrpt.counting import Tally

MAX_TALLY_BYTES = 160 * 1024  # a policy has 64 KiB at most, its lines and patterns both
_MAX_AT_ONCE = 5_000
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Tally).decode


class Inbox:
    """Made before the processes that share it; what is in it outlives each of them. Some hundred fit in."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    def send(self, tally: Tally) -> bool:
        """Whether it was taken: it is not while the collector is far behind. Never waits."""
        content = _encode(tally)
        if len(content) > MAX_TALLY_BYTES:
            return False
        with contextlib.suppress(OSError):
            return self._writing.send(content) == len(content)
        return False

    def take(self) -> list[Tally]:
        found: list[Tally] = []
        while len(found) < _MAX_AT_ONCE:
            try:
                found.append(_decode(self._reading.recv(MAX_TALLY_BYTES)))
            except BlockingIOError:
                break
        return found

    def close(self) -> None:
        self._reading.close()
        self._writing.close()
