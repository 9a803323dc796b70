"""The reporter as a child of the policy server: started again when it ends, and gone when its parent is.

It is given the settings on its standard input, and ends when that is closed: so it outlives no parent, however that
died.
"""

import asyncio
import contextlib
import logging
import sys

import msgspec

from mailward.config import Settings

logger = logging.getLogger("mailward.sender")

FIRST_RESTART_SECONDS, RESTART_SECONDS = 1.0, 60.0
STEADY_SECONDS = 300.0  # who lived so long is started again at once
_STOP_SECONDS = 15.0  # for the delivery in hand


async def keep_reporter(settings: Settings) -> None:
    """Until cancelled."""
    command = (sys.executable, "-m", "mailward", "sender", "reporter", "--as-child")
    wait = FIRST_RESTART_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        try:
            await _hand_over(process, settings)
            status = await process.wait()
        finally:
            await _stop(process)
        wait = (
            FIRST_RESTART_SECONDS
            if loop.time() - started > STEADY_SECONDS
            else min(2 * wait, RESTART_SECONDS)
        )
        logger.error("reporter-ended", extra={"status": status, "restart_seconds": wait})
        await asyncio.sleep(wait)


async def _hand_over(process: asyncio.subprocess.Process, settings: Settings) -> None:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(msgspec.json.encode(settings) + b"\n")
    with contextlib.suppress(ConnectionError):  # it has ended: its status says why
        await process.stdin.drain()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()  # what it was sending is sent again, and marked
        await process.wait()
