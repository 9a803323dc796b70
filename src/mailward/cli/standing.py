"""The supervisor tells how it finds its services: see mailward.doctor.standing."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from mailward.doctor.standing import Standing, socket_path

_log = logging.getLogger("mailward.supervisor")


@asynccontextmanager
async def telling(folder: Path, read: Callable[[], Sequence[Standing]]) -> AsyncIterator[None]:
    """While the block runs. The data folder has to be locked: a socket that is there is of one who has ended."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgspec.json.encode(read()))
        writer.close()

    try:
        with socket_path(folder) as path:
            listener = _open(path)
        server = await asyncio.start_unix_server(answer, sock=listener)
    except OSError as error:  # a file system without sockets: policies matter more than who looks at us
        _log.warning("standing-not-told", extra={"reason": str(error)})
        yield
        return
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError), socket_path(folder) as path:
            os.unlink(path)  # noqa: PTH108 - no path that anybody reads


def _open(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        # before it has its name: nobody else connects, not even for a moment
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(path)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
