"""A web server that takes reports, or misbehaves on demand: real TLS on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

TAKEN = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Post:
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ReportHost:
    context: ssl.SSLContext
    answer: bytes = TAKEN
    """Empty: the connection is closed without one."""
    hangs: bool = False
    posts: list[Post] = field(default_factory=list)
    """All that was read to the end, whatever was answered."""
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ReportHost"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.posts.append(await _read(reader))
            if self.hangs:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
        except (OSError, EOFError):
            return
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Post:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["Content-Length"]))
    return Post(head[0].split(" ")[1], headers, body)
