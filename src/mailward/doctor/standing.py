"""How the supervisor finds its services: asked at a Unix socket in the data folder, which tells it to whoever connects.

Their listening sockets say nothing of that: the supervisor keeps them, so they take connections while a service is away
or hangs.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

FILE = ".supervisor"
_SECONDS = 1.0
_MAX_BYTES = 64 * 1024


class Standing(msgspec.Struct, frozen=True):
    """Of one service."""

    name: str
    serves: bool
    """It has begun to since it was started."""
    silent_seconds: int
    """It has missed so much of its pulse; 0: it lives."""
    ends: int = 0
    """So often in a row it ended by itself, each time within a minute of its start."""


class SupervisorSilent(Exception):
    """Somebody holds the socket and does not answer in time."""


async def ask_standing(folder: Path) -> tuple[Standing, ...]:
    """Empty where there is nobody to ask, as at an older Mailward. Raises SupervisorSilent, and PermissionError where
    this user may not.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            with socket_path(folder) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            try:
                told = await reader.read(_MAX_BYTES)
            finally:
                writer.close()
        return msgspec.json.decode(told, type=tuple[Standing, ...])
    except TimeoutError:
        raise SupervisorSilent from None
    except PermissionError:
        raise
    except (OSError, msgspec.DecodeError):
        return ()


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """A path that is short enough for a socket's address (unix(7): 108 octets), however deep the folder lies."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}/{FILE}"
    finally:
        os.close(number)
