"""Room for the nameserver's TCP connections: who holds many open gives way to who has few.

A server may close idle connections when it is short of room (RFC 7766 section 6.2.3, RFC 9210 section 4.2). When there
is none, the network with the most connections loses the one that asked longest ago, so that a crowd of addresses with
twenty connections each displaces its own.
"""

from typing import Protocol


class Held(Protocol):
    """A connection that may have to give way."""

    @property
    def is_transferring(self) -> bool: ...

    def abort(self) -> None: ...


class Places:
    def __init__(self, limit: int, an_address: int) -> None:
        self._limit = limit
        self._an_address = an_address
        self._count = 0
        self._blocks: dict[str, dict[Held, None]] = {}
        """By what connections are counted by. Both in the order of what was asked last."""

    def __len__(self) -> int:
        return self._count

    def count(self, block: str) -> int:
        return len(self._blocks.get(block, ()))

    def enter(self, connection: Held, block: str) -> bool:
        """False: there are as many from there as may be, or nobody can give way."""
        if self.count(block) >= self._an_address or (self._count >= self._limit and not self._make_room()):
            return False
        self._blocks.setdefault(block, {})[connection] = None
        self._count += 1
        return True

    def touch(self, connection: Held, block: str) -> None:
        """It has asked something."""
        held = self._blocks.get(block, {})
        if connection in held:
            del held[connection], self._blocks[block]
            held[connection] = None
            self._blocks[block] = held

    def leave(self, connection: Held, block: str) -> None:
        """It is gone; nothing where it is already."""
        held = self._blocks.get(block, {})
        if connection in held:
            del held[connection]
            self._count -= 1
            if not held:
                del self._blocks[block]

    def _make_room(self) -> bool:
        for block, held in sorted(self._blocks.items(), key=lambda pair: -len(pair[1])):
            for connection in held:
                if not connection.is_transferring:
                    self.leave(connection, block)
                    connection.abort()
                    return True
        return False
