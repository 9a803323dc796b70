"""A port at which nobody takes a connection and nobody refuses one, as behind a firewall that drops packets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def silent_port(address: str) -> Iterator[int]:
    """On loopback: a queue of connections that is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((address, 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.3)
            try:
                waiting.connect((address, port))
            except TimeoutError:
                break
        yield port
