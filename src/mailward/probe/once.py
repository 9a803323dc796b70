"""Asking once what many want to know, and not too many at a time of one address."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What was found under each name, found once; who comes while it is being looked for waits. The oldest are
    forgotten.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, T] = OrderedDict()
        self._pending: dict[str, asyncio.Future[T]] = {}

    def known(self, name: str) -> T | None:
        return self._known.get(name)

    async def get(self, name: str, find: Callable[[], Awaitable[T]]) -> T:
        """Raises what `find` raises, at everybody who waits for it."""
        known = self._known.get(name)
        if known is not None:
            return known
        pending = self._pending.get(name)
        if pending is not None:
            return await asyncio.shield(pending)
        # a task: that one who waits gives up must not take the answer from the others
        task = self._pending[name] = asyncio.ensure_future(find())
        task.add_done_callback(lambda done: self._keep(name, done))
        return await asyncio.shield(task)

    def _keep(self, name: str, done: "asyncio.Future[T]") -> None:
        del self._pending[name]
        if done.cancelled() or done.exception() is not None:
            return
        self._known[name] = done.result()
        if len(self._known) > self._size:
            self._known.popitem(last=False)


class Politeness:
    """So many at a time to one address; what is idle is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @contextlib.asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        semaphore, users = self._places.get(address) or (asyncio.Semaphore(self._limit), 0)
        self._places[address] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._places[address]
            if users == 1:
                del self._places[address]
            else:
                self._places[address] = semaphore, users - 1
