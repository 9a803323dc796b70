"""DNS lookups by the hundred thousand, from one process: the same answers as `resolver.Resolver`, for less of its time.

Questions share sockets, wherever the resolver is. That makes a forged answer easier to land than a port of its own for
each question does (RFC 5452 section 9.2): one of 64 ports and the id must be guessed. Ports are changed often,
and what is at stake is a row of a table, not mail.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from mailward.net import quickdns
from mailward.net.answers import Answer, Status
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver, Server

MAX_IN_FLIGHT = 64  # of one socket: as many answers as its buffer surely holds
SOCKETS = 64
_QUESTIONS = 5_000  # a socket is closed after them: a new one has a new port
_SWEEP_SECONDS = 0.25


class BulkResolver(Resolver):
    """Takes several resolvers in turn. A lookup is tried `retries` times more after a failure, at the next one."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        attempt_seconds: float = 3.0,
        retries: int = 2,
        guard: Guard = Guard(),  # noqa: B008 - frozen
    ) -> None:
        """Raises ValueError for what is no server."""
        super().__init__(servers, timeout_seconds=attempt_seconds * (retries + 1), guard=guard)
        self._attempt_seconds = attempt_seconds
        self._retries = retries
        self._turn = 0
        self._exchanges: dict[Server, _Exchange] = {}

    async def _lookup(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:
        query = quickdns.build_query(name, rdtype) if self._servers else None
        if query is None:
            return await super()._lookup(name, rdtype)
        reason = ""
        for attempt in range(self._retries + 1):
            server = self._next_server()
            try:
                channel, future = self._exchange(server).ask(query, self._attempt_seconds)
                try:
                    wire = await future
                finally:
                    channel.forget(query)
            except TimeoutError:
                reason = f"{server}: no answer in time"
                continue
            except OSError as error:
                reason = f"{server}: {error.strerror or error}"
                await asyncio.sleep(self._attempt_seconds / 4)  # a closed port says so at once
                continue
            answer = quickdns.read_response(wire, query)
            if answer is None:
                answer = await self._read_unusual(wire, name, rdtype, server)
            if answer.status is not Status.FAILED or attempt == self._retries or answer.chain:
                return answer
            reason = answer.reason
        return Answer(Status.FAILED, reason=reason)

    def close(self) -> None:
        for exchange in self._exchanges.values():
            exchange.close()
        self._exchanges.clear()

    def _next_server(self) -> Server:
        self._turn = (self._turn + 1) % len(self._servers)
        return self._servers[self._turn]

    def _exchange(self, server: Server) -> "_Exchange":
        exchange = self._exchanges.get(server)
        if exchange is None:
            exchange = self._exchanges[server] = _Exchange(server)
        return exchange


class _Exchange:
    """The sockets to one resolver, and the deadlines of what is under way: they come in the order of asking, so
    that one timer does for all.
    """

    def __init__(self, server: Server) -> None:
        self._place = server.address, server.port
        self._loop = asyncio.get_running_loop()
        self._channels: deque[quickdns.Channel] = deque()
        self._retired: list[quickdns.Channel] = []
        self._deadlines: deque[tuple[float, asyncio.Future[bytes]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, query: bytes, seconds: float) -> "tuple[quickdns.Channel, asyncio.Future[bytes]]":
        """The response is to come, or OSError, of which TimeoutError is one. Whoever asks lets the channel forget the
        query then. Raises OSError.
        """
        channel = self._pick(query)
        try:
            future = channel.ask(query)
        except OSError:
            channel.forget(query)
            raise
        self._deadlines.append((self._loop.time() + seconds, future))
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return channel, future

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for channel in (*self._channels, *self._retired):
            channel.close()

    def _pick(self, query: bytes) -> quickdns.Channel:
        """Raises OSError."""
        if len(self._channels) < SOCKETS:
            self._channels.append(quickdns.Channel(self._place, self._loop))
        for _ in range(len(self._channels)):
            channel = self._channels[0]
            self._channels.rotate(-1)
            if channel.asked >= _QUESTIONS:
                self._replace(channel)
            elif len(channel.questions) < MAX_IN_FLIGHT and query[:2] not in channel.questions:
                return channel
        extra = quickdns.Channel(self._place, self._loop)  # more than all of them hold
        self._channels.append(extra)
        return extra

    def _replace(self, channel: quickdns.Channel) -> None:
        self._channels.remove(channel)
        self._retired.append(channel)
        for each in [each for each in self._retired if not each.questions]:
            each.close()
            self._retired.remove(each)
        if len(self._channels) < SOCKETS:
            self._channels.append(quickdns.Channel(self._place, self._loop))

    def _sweep(self) -> None:
        now, deadlines = self._loop.time(), self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][1].done()):
            _, future = deadlines.popleft()
            if not future.done():
                future.set_exception(TimeoutError())
        self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if deadlines else None
