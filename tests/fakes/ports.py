"""Ports for servers that are started by number."""

import random
import socket
from collections.abc import Iterator
from itertools import cycle

# Below the range from which the kernel takes the near end of any connection (ip_local_port_range: 32768 and up): a
# port from there can be gone between asking for it and listening. Each process walks from a place of its own.
_FIRST, _LAST = 10_000, 32_000
_START = random.SystemRandom().randrange(_FIRST, _LAST)
_walk: Iterator[int] = cycle([*range(_START, _LAST), *range(_FIRST, _START)])


def free_port() -> int:
    """One of loopback that nobody listens on, and that this process has not given out before."""
    for port in _walk:
        with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                listener.bind(("127.0.0.1", port))
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a cycle does not end")
