"""Listening sockets: opened once, and handed from process to process.

Whoever opens a socket and keeps it lets nobody be refused: while the process that serves it is away, connections and
datagrams wait in the kernel. `mailward serve` keeps those of its children, and systemd may keep those of `mailward
serve`.

    held = open_stream(("192.0.2.1", 443))
    subprocess.Popen(..., pass_fds=[held.fileno()], env={VARIABLE: hand_over({"policy-host": [held]})})
    ...
    sockets = inherited("policy-host")    # in that process
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from mailward.core.places import Place

VARIABLE = "MAILWARD_SOCKETS"
"""`name=number`, apart by blanks."""
BACKLOG = 4096
"""So many connections wait while nobody takes them; the kernel cuts it to net.core.somaxconn, which is 4096 too."""
RECEIVE_BUFFER = 4 * 1024 * 1024
"""Octets of datagrams that wait; the kernel cuts it to net.core.rmem_max."""


def open_stream(place: Place) -> socket.socket:
    """Raises OSError."""
    listener = _bind(place, socket.SOCK_STREAM)
    listener.listen(BACKLOG)
    return listener


def open_streams(places: Iterable[Place]) -> list[socket.socket]:
    """All of them or none. Raises OSError."""
    opened: list[socket.socket] = []
    try:
        opened.extend(open_stream(place) for place in places)
    except OSError:
        for each in opened:
            each.close()
        raise
    return opened


def open_datagrams(place: Place) -> socket.socket:
    """Raises OSError."""
    return _bind(place, socket.SOCK_DGRAM)


def place_of(listener: socket.socket) -> Place:
    host, port, *_ = listener.getsockname()
    return str(host), int(port)


def at_port(places: Iterable[Place], port: int | None) -> list[Place]:
    """The same addresses at another port, where one is given; 0: one that the system chooses."""
    return [(host, own if port is None else port) for host, own in places]


def hand_over(sockets: Mapping[str, Sequence[socket.socket]]) -> str:
    """What VARIABLE has to say in the process that inherits them."""
    return " ".join(f"{name}={each.fileno()}" for name, held in sockets.items() for each in held)


def inherited(
    name: str, kind: socket.SocketKind = socket.SOCK_STREAM, environ: Mapping[str, str] = os.environ
) -> list[socket.socket]:
    """Those of that name and kind which this process was given; none: it has to open its own."""
    found = []
    for word in environ.get(VARIABLE, "").split():
        its_name, _, number = word.partition("=")
        if its_name != name:
            continue
        held = socket.socket(fileno=int(number))
        if held.type == kind:
            held.set_inheritable(False)
            held.setblocking(False)
            found.append(held)
        else:
            held.detach()  # asked for by its own kind
    return found


def _bind(place: Place, kind: socket.SocketKind) -> socket.socket:
    flags = socket.AI_NUMERICHOST | socket.AI_PASSIVE
    family, _, _, _, target = socket.getaddrinfo(*place, type=kind, flags=flags)[0]
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            # `::` is all of IPv6 and nothing of IPv4, so that it can stand beside `0.0.0.0`
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        made.bind(target)
    except OSError:
        made.close()
        raise
    return made
