"""A small HTTP/1.1 server for the open Internet, with or without TLS, in which everything is bounded.

uvicorn and its like have no deadline for a handshake or a header; here each step has one, and connections
(also those still in their handshake), header and body bytes, pipelining and unread answers have limits
(HttpLimits). Not here on purpose: HTTP/2, streaming bodies, compression, redirects, routing, files.

    def answer(request: Request) -> Response:
        return Response(200, b"hello\n")

    server = await serve_http(answer, listen="127.0.0.1", port=8080)
    ...
    await server.close()
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Sequence

from mailward.net import clock, listening
from mailward.net.httpconnection import HttpConnection
from mailward.net.httpmessage import (
    Admit,
    Finished,
    Handler,
    HttpLimits,
    OnFinished,
    Request,
    Response,
    Shortcut,
    TakeShortcut,
    refusal,
)
from mailward.net.httpservice import Counts, Service
from mailward.net.tlspipe import record_server_names

__all__ = [
    "Finished",
    "Handler",
    "HttpLimits",
    "Request",
    "Response",
    "Server",
    "Shortcut",
    "refusal",
    "serve_http",
]

LOOK_SECONDS = 0.1
"""Between two looks at what is still under way when a server ends."""


class Server:
    """A running server. `port` is the real one where 0 was asked for, of the first socket."""

    def __init__(self, listeners: Sequence[asyncio.Server], service: Service) -> None:
        self._listeners, self._service = listeners, service
        self.port: int = listeners[0].sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self._service.connections)

    @property
    def has_tls(self) -> bool:
        return self._service.tls is not None

    @property
    def counts(self) -> Counts:
        return self._service.counts

    async def close(self, grace_seconds: float = 5) -> None:
        """Take nothing new, finish what was begun, and after the grace cut what is left.

        A connection that has just come is waited for too: its client, once in, may count on an answer. What has not
        come in waits for whoever else holds the sockets.
        """
        for listener in self._listeners:
            listener.close()
        self._service.closing = True
        await asyncio.sleep(0)  # what was accepted a moment ago is told to its connection now
        deadline = clock.monotonic() + grace_seconds
        while clock.monotonic() < deadline:
            for connection in list(self._service.connections):
                connection.close_when_idle()
            if not self._service.connections:
                return
            # not until all have gone: some become idle, or stall, while others are at work
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._service.empty.wait()
        for connection in list(self._service.connections):
            connection.abort()
        await asyncio.sleep(0)


async def serve_http(
    handler: Handler,
    *,
    listen: str = "",
    port: int = 0,
    sockets: Sequence[socket.socket] = (),
    ssl_context: ssl.SSLContext | None = None,
    limits: HttpLimits | None = None,
    admit: Admit | None = None,
    on_finished: OnFinished | None = None,
    shortcut: TakeShortcut | None = None,
    is_proxy: Callable[[str], bool] | None = None,
    may_connect: Callable[[str], bool] | None = None,
    context_for: Callable[[str], ssl.SSLContext | None] | None = None,
) -> Server:
    """Serve until `Server.close`, on `sockets` that listen already, or else at address and port. Raises OSError where
    those cannot be had.

    `admit` sees the head of every request that has a body, before the body is read, and may turn it away. A
    handler that raises is answered by a bare 500 and logged; one that takes too long by 503. `on_finished` is
    called once for each answer, after it was written; not for what `shortcut` answered. Connections from addresses
    for which `is_proxy` is true have to begin with a PROXY header, and count for the client that it names. Those from
    addresses for which `may_connect` is false are cut off. `context_for` says, where `ssl_context` chooses a context by
    the server name, which one that would be: a connection that begins with it is cheaper.
    """
    limits = limits or HttpLimits()
    if ssl_context is not None:
        record_server_names(ssl_context)
    service = Service(
        handler, limits, ssl_context, admit, on_finished, shortcut, is_proxy, may_connect, context_for
    )
    connect = functools.partial(HttpConnection, service)
    loop = asyncio.get_running_loop()
    listeners = [
        await loop.create_server(connect, sock=each, backlog=listening.BACKLOG)
        for each in sockets or [listening.open_stream((listen, port))]
    ]
    return Server(listeners, service)
