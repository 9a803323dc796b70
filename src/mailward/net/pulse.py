"""How a child process of `mailward serve` shows that it serves, and that its event loop turns.

One octet after another goes into a pipe whose other end the supervisor reads: the first says that the child is ready.
"""

import asyncio
import contextlib
import os

VARIABLE = "MAILWARD_PULSE"
"""The number of the pipe's end."""
SECONDS = 5.0


async def keep() -> None:
    """Until cancelled. Call it once everything is served. Without a supervisor it only waits."""
    number = os.environ.get(VARIABLE, "")
    if not number:
        await asyncio.get_running_loop().create_future()
    pipe = int(number)
    os.set_blocking(pipe, False)
    while True:
        # a full pipe: the supervisor has stopped reading, and will find enough when it goes on
        with contextlib.suppress(BlockingIOError):
            os.write(pipe, b".")
        await asyncio.sleep(SECONDS)
