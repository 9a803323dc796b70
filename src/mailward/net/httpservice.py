"""What the connections of one HTTP server share: handler, limits, and the counts that the limits hold."""

import asyncio
import itertools
import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from mailward.net.httpmessage import Admit, Handler, HttpLimits, OnFinished

_STALLED_LOOKED_AT = 64


class Connection(Protocol):
    """As much of a connection as the count of connections needs to know."""

    block: str

    @property
    def stalled(self) -> bool: ...
    def abort(self) -> None: ...
    def close_when_idle(self) -> None: ...


@dataclass(eq=False, slots=True)
class Service:
    """What the connections of one server share."""

    handler: Handler
    limits: HttpLimits
    tls: ssl.SSLContext | None = None
    admit: Admit | None = None
    on_finished: OnFinished | None = None
    connections: dict[Connection, None] = field(default_factory=dict)
    """In the order in which they came."""
    idle: dict[Connection, None] = field(default_factory=dict)
    """In the order in which they fell idle."""
    an_address: Counter[str] = field(default_factory=Counter)
    body_bytes: int = 0
    closing: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, connection: Connection) -> bool:
        """Count a new connection in; False turns it away."""
        block = connection.block
        if block and self.an_address[block] >= self.limits.connections_an_address:
            return False
        if len(self.connections) >= self.limits.connections:
            victim = next(iter(self.idle), None) or self._oldest_stalled()
            if victim is None:
                return False
            victim.abort()
        self.connections[connection] = None
        self.empty.clear()
        if block:
            self.an_address[block] += 1
        return True

    def _oldest_stalled(self) -> Connection | None:
        first = itertools.islice(self.connections, _STALLED_LOOKED_AT)
        return next((connection for connection in first if connection.stalled), None)

    def leave(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        del self.connections[connection]
        self.idle.pop(connection, None)
        if block := connection.block:
            self.an_address[block] -= 1
            if not self.an_address[block]:
                del self.an_address[block]
        if not self.connections:
            self.empty.set()


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
