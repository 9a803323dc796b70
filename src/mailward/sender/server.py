"""The socketmap server: frames in, frames out, in order, each connection for itself.

Postfix sends one question and waits. Such a question is usually one whole frame in one piece, whose answer is
in the memo: that path takes no task and no parsing. Everything else goes through a queue of the connection,
one question after another.
"""

import asyncio
import logging
import socket
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from mailward.core.postfix import netstring, socketmap
from mailward.core.postfix.netstring import NetstringError
from mailward.core.postfix.socketmap import MAX_QUERY_BYTES
from mailward.net import clock
from mailward.sender.answers import Answers
from mailward.sender.hearsay import Listener

logger = logging.getLogger("mailward.sender")

MAX_WAITING = 64  # questions that a client has sent ahead; then it is not read from
BACKLOG = 1024
DRAIN_SECONDS = 5.0  # for answers under way when we stop

# Python 3.13 removes the file of a unix socket at its close; it may be systemd's, which goes on listening
_LEAVE_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}

_monotonic = clock.monotonic


class Connection(asyncio.Protocol):
    """One client. Never closes first, except on what is no netstring: Postfix retries badly after that."""

    __slots__ = (
        "_answers",
        "_buffer",
        "_finished",
        "_rows",
        "_server",
        "_task",
        "_transport",
        "_waiting",
        "_writable",
    )

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._answers = server.answers
        self._finished = server.answers.memo.finished
        self._rows = server.answers.metrics.answers
        self._buffer = b""
        self._waiting: deque[bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # stream sockets alone
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self)
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._buffer and self._task is None:
            hit = self._finished.get(data)
            if hit is not None and hit.until > _monotonic():
                self._rows[hit.row] += 1
                self._transport.write(hit.frame or hit.make(data))
                return
        self._read_frames(data)

    def pause_writing(self) -> None:
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable.set()
        self._transport.resume_reading()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What works on its questions now."""
        return self._task

    def close(self) -> None:
        self._transport.close()

    def _read_frames(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        try:
            payloads, used = netstring.split_frames(buffer, MAX_QUERY_BYTES)
        except NetstringError as error:
            self._server.answers.metrics.malformed_total += 1
            logger.warning("malformed", extra={"reason": str(error)})
            self._transport.close()
            return
        self._buffer = buffer[used:]
        self._waiting.extend(payloads)
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        if len(self._waiting) >= MAX_WAITING:
            self._transport.pause_reading()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._writable.wait()
                frame = await self._answer(self._waiting.popleft())
                if self._transport.is_closing():
                    return
                self._transport.write(frame)
        finally:
            self._task = None
        if self._writable.is_set() and not self._transport.is_closing():
            self._transport.resume_reading()

    async def _answer(self, payload: bytes) -> bytes:
        hit = self._answers.memo.find(netstring.encode(payload))
        if hit is not None:
            frame, row = hit
            self._rows[row] += 1
            return frame
        try:
            return await self._answers.answer(payload)
        except Exception:  # the last line of defence: a mistake of ours defers, and never lets mail pass
            logger.exception("answer-failed", extra={"query": payload[:200].decode("ascii", "replace")})
            return netstring.encode(socketmap.temp("an internal error; see the log of mailward sender"))


class SharedConnection(Connection):
    """Where other processes answer too: what they have learned is heard before an answer from memory is used."""

    __slots__ = ("_listener",)

    def __init__(self, server: "Server", listener: Listener) -> None:
        super().__init__(server)
        self._listener = listener

    def data_received(self, data: bytes) -> None:
        if self._listener.number[0] != self._listener.heard:
            self._answers.listen()
        Connection.data_received(self, data)


class Server:
    """All listening sockets and their connections."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for listener in sockets:
            if listener.family == socket.AF_UNIX:
                server = await loop.create_unix_server(
                    self._connect, sock=listener, backlog=BACKLOG, **_LEAVE_FILE
                )
            else:
                server = await loop.create_server(self._connect, sock=listener, backlog=BACKLOG)
            self._listeners.append(server)

    async def stop(self) -> None:
        """No new connections; answers under way are given, then the connections are closed."""
        for server in self._listeners:
            server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for connection in list(self._connections):
            connection.close()

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.answers.metrics.connections += 1
        self.answers.metrics.connections_total += 1

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.answers.metrics.connections -= 1

    def _connect(self) -> Connection:
        listener = self.answers.listener
        return Connection(self) if listener is None else SharedConnection(self, listener)
