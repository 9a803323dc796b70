"""One piece of work a key at a time: whoever asks for the same waits for the same."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from mailward.net import clock


class Flights:
    """The work goes on when those who wait for it have gone, and ends by its own deadlines."""

    def __init__(self, max_flights: int) -> None:
        self._max_flights = max_flights
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    async def join(self, key: Hashable, work: Callable[[], Awaitable[None]], deadline: float | None) -> bool:
        """Whether the work was done by `deadline` (monotonic; None: whenever). Raises nothing that the work
        raises: it must not.
        """
        task = self._tasks.get(key)
        if task is None:
            if len(self._tasks) >= self._max_flights:
                return False
            task = asyncio.get_running_loop().create_task(_run(work))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        await _wait_for(task, deadline)
        if task.done() and not task.cancelled():
            task.result()  # a mistake of ours must not be silent
        return task.done()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_for(task: "asyncio.Task[None]", deadline: float | None) -> None:
    """As asyncio.wait for one task, at a third of its price: this is once a question."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    timer = None if deadline is None else loop.call_later(max(deadline - clock.monotonic(), 0), wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
