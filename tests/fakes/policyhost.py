"""A policy host on loopback that answers every request with the bytes it was given, however wrong they
are.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import format_datetime

from mailward.net import clock

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GOOD_POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmax_age: 604800\r\n"


def http(
    body: bytes = GOOD_POLICY, *, status: str = "200 OK", content_type: str = "text/plain", extra: str = ""
) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}"
    head += f"Date: {format_datetime(clock.now(), usegmt=True)}\r\n\r\n"
    return head.encode() + body


class PolicyHost:
    """`requests` keeps the heads that came; `names` the server names that clients asked for by SNI."""

    def __init__(self, context: ssl.SSLContext, response: bytes | Script, address: str = "127.0.0.1") -> None:
        self.context = context
        self.address = address
        self.response = response
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["PolicyHost"]:
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._serve, self.address, self.port, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(self.response, bytes):
                writer.write(self.response)
                await writer.drain()
            else:
                await self.response(reader, writer)
        writer.close()
