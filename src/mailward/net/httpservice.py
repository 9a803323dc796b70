"""What the connections of one HTTP server share: handler, limits, and the counts that the limits hold."""

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Histogram
from mailward.net.httpmessage import Admit, Handler, HttpLimits, OnFinished, TakeShortcut

_STALLED_LOOKED_AT = 64


class Connection(Protocol):
    """As much of a connection as the count of connections needs to know."""

    block: str

    @property
    def stalled(self) -> bool: ...
    def abort(self) -> None: ...
    def close_when_idle(self) -> None: ...


@dataclass(slots=True)
class Counts:
    """What has happened since the server was started. Only the loop counts; any thread may read."""

    shortcuts: int = 0
    """Answers that were ready, all with status 200."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all other answers."""
    seconds: Histogram = field(default_factory=catalogue.HTTP_SECONDS.make)
    """Of the same."""
    handshakes: int = 0
    handshake_failures: Counter[str] = field(default_factory=Counter)
    """By reason: net.tlsfaults."""
    turned_away: int = 0


@dataclass(eq=False, slots=True)
class Service:
    """What the connections of one server share."""

    handler: Handler
    limits: HttpLimits
    tls: ssl.SSLContext | None = None
    admit: Admit | None = None
    on_finished: OnFinished | None = None
    shortcut: TakeShortcut | None = None
    is_proxy: Callable[[str], bool] | None = None
    """Whether connections from this address begin with a PROXY header, which says who the client is."""
    may_connect: Callable[[str], bool] | None = None
    """Who may; None: everybody. Others are cut off at once."""
    context_for: Callable[[str], ssl.SSLContext | None] | None = None
    """What `tls` would choose for a server name in lower case; None: let it choose."""
    connections: dict[Connection, None] = field(default_factory=dict)
    """In the order in which they came."""
    idle: dict[Connection, None] = field(default_factory=dict)
    """In the order in which they fell idle."""
    an_address: dict[str, dict[Connection, None]] = field(default_factory=dict)
    """In the order in which they came."""
    counts: Counts = field(default_factory=Counts)
    body_bytes: int = 0
    closing: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, connection: Connection) -> bool:
        """Count a new connection in; False turns it away."""
        block = connection.block
        held = self.an_address.get(block) if block else None
        if (
            held is not None
            and len(held) >= self.limits.connections_an_address
            and not self._makes_room(block)
        ):
            self.counts.turned_away += 1
            return False
        if len(self.connections) >= self.limits.connections:
            victim = next(iter(self.idle), None) or _oldest_stalled(self.connections)
            if victim is None:
                self.counts.turned_away += 1
                return False
            victim.abort()
        if not self.connections:
            self.empty.clear()
        self.connections[connection] = None
        if block:
            self._count(connection, block)
        return True

    def rename(self, connection: Connection, block: str) -> bool:
        """Count a connection under who a proxy says that it is from; False turns it away."""
        if not self._makes_room(block):
            self.counts.turned_away += 1
            return False
        connection.block = block
        if block:
            self._count(connection, block)
        return True

    def _count(self, connection: Connection, block: str) -> None:
        held = self.an_address.get(block)
        if held is None:
            self.an_address[block] = {connection: None}
        else:
            held[connection] = None

    def _makes_room(self, block: str) -> bool:
        """Whether one more fits from there. A stalled one of the same address gives way: who holds connections open
        turns away nobody behind the same address but their own.
        """
        held = self.an_address.get(block) if block else None
        if held is None or len(held) < self.limits.connections_an_address:
            return True
        victim = _oldest_stalled(held)
        if victim is None:
            return False
        victim.abort()
        self.leave(victim)
        return True

    def leave(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        del self.connections[connection]
        self.idle.pop(connection, None)
        if block := connection.block:
            held = self.an_address[block]
            held.pop(connection, None)
            if not held:
                del self.an_address[block]
        if not self.connections:
            self.empty.set()


def _oldest_stalled(connections: Iterable[Connection]) -> Connection | None:
    first = itertools.islice(connections, _STALLED_LOOKED_AT)
    return next((connection for connection in first if connection.stalled), None)


def address_block(address: str, *, count_loopback: bool) -> str:
    """What connections are counted by: the IPv4 address or the IPv6 /64. Empty: not counted."""
    address = address.removeprefix("::ffff:").partition("%")[0]
    if not count_loopback and (address == "::1" or address.startswith("127.")):
        return ""
    if ":" not in address:
        return address
    head, _, tail = address.partition("::")
    groups = head.split(":") if head else []
    if "::" in address:
        after = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(after)) + after
    return ":".join(groups[:4])
