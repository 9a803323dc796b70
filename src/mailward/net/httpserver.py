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
import ssl
from collections.abc import Callable

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

_BACKLOG = 512


class Server:
    """A running server. `port` is the real one where 0 was asked for."""

    def __init__(self, listener: asyncio.Server, service: Service) -> None:
        self._listener, self._service = listener, service
        self.port: int = listener.sockets[0].getsockname()[1]

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
        """Take nothing new, finish what was begun, and after the grace cut what is left."""
        self._listener.close()
        self._service.closing = True
        for connection in list(self._service.connections):
            connection.close_when_idle()
        try:
            if self._service.connections:
                async with asyncio.timeout(grace_seconds):
                    await self._service.empty.wait()
        except TimeoutError:
            for connection in list(self._service.connections):
                connection.abort()
            await asyncio.sleep(0)


async def serve_http(
    handler: Handler,
    *,
    listen: str,
    port: int,
    ssl_context: ssl.SSLContext | None = None,
    limits: HttpLimits | None = None,
    admit: Admit | None = None,
    on_finished: OnFinished | None = None,
    shortcut: TakeShortcut | None = None,
    is_proxy: Callable[[str], bool] | None = None,
    may_connect: Callable[[str], bool] | None = None,
) -> Server:
    """Serve until `Server.close`. Raises OSError where the address cannot be had.

    `admit` sees the head of every request that has a body, before the body is read, and may turn it away. A
    handler that raises is answered by a bare 500 and logged; one that takes too long by 503. `on_finished` is
    called once for each answer, after it was written; not for what `shortcut` answered. Connections from addresses
    for which `is_proxy` is true have to begin with a PROXY header, and count for the client that it names. Those from
    addresses for which `may_connect` is false are cut off.
    """
    limits = limits or HttpLimits()
    if ssl_context is not None:
        record_server_names(ssl_context)
    service = Service(handler, limits, ssl_context, admit, on_finished, shortcut, is_proxy, may_connect)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: HttpConnection(service),
        listen,
        port,
        backlog=_BACKLOG,
        reuse_address=True,
        start_serving=True,
    )
    return Server(listener, service)
