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
        timeout = None if deadline is None else max(deadline - clock.monotonic(), 0)
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if task in done and not task.cancelled():
            task.result()  # a mistake of ours must not be silent
        return task in done

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
