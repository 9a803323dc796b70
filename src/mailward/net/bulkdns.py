"""DNS lookups by the hundred thousand, from one process: the same answers as `resolver.Resolver`, over one
`dnsstream.DnsStream`, for less of its time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mailward.net import quickdns
from mailward.net.answers import Answer, Status
from mailward.net.dnsstream import DnsStream
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver, Server


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of asking once."""

    wire: bytes = b""
    """The response; empty: there was none."""
    end: int = 0
    """Where its question ends."""
    server: Server | None = None
    """Who sent it."""
    reason: str = ""
    """Why there was none."""
    is_late: bool = False
    """It was waited for in vain; otherwise a closed port said so at once."""


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
        """For one event loop. Raises ValueError for what is no server."""
        super().__init__(servers, timeout_seconds=attempt_seconds * (retries + 1), guard=guard)
        self._attempt_seconds = attempt_seconds
        self._retries = retries
        self.stream = DnsStream(self._servers, attempt_seconds)
        """For plain questions that are asked without waiting: what comes of them may be gone on with by `resume`."""

    async def resume(self, name: str, rdtype: str, attempt: Attempt) -> Answer[str] | Answer[bytes]:
        """The lookup whose first attempt this was. Raises nothing, as `lookup`."""
        return await self._go_on(name, rdtype, attempt)

    async def _lookup(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:
        question = quickdns.build_question(name, rdtype) if self._servers else None
        if question is None:
            return await super()._lookup(name, rdtype)
        return await self._go_on(name, rdtype, await self._ask_once(question))

    async def _go_on(self, name: str, rdtype: str, attempt: Attempt) -> Answer[str] | Answer[bytes]:
        left = self._retries
        while True:
            reason = attempt.reason
            if attempt.server is not None:
                answer = quickdns.read_message(attempt.wire, attempt.end)
                if answer is None:
                    answer = await self._read_unusual(attempt.wire, name, rdtype, attempt.server)
                if answer.status is not Status.FAILED or not left or answer.chain:
                    return answer
                reason = answer.reason
            elif not attempt.is_late:
                await asyncio.sleep(self._attempt_seconds / 4)
            question = quickdns.build_question(name, rdtype)
            if not left or question is None:
                return Answer(Status.FAILED, reason=reason)
            left -= 1
            attempt = await self._ask_once(question)

    async def _ask_once(self, question: bytes) -> Attempt:
        waiter = _Waiter()
        self.stream.ask(question, waiter, 0)
        return await waiter.done

    def close(self) -> None:
        self.stream.close()


class _Waiter:
    """Takes one answer, for a task that waits for it."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Attempt] = asyncio.get_running_loop().create_future()

    def take(self, _: int, wire: bytes, end: int, server: Server) -> None:
        self._finish(Attempt(wire, end, server))

    def miss(self, _: int, reason: str, *, is_late: bool) -> None:
        self._finish(Attempt(reason=reason, is_late=is_late))

    def _finish(self, attempt: Attempt) -> None:
        if not self.done.done():  # whoever waited may be gone
            self.done.set_result(attempt)
