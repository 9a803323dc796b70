"""What one connection to the console may cost, before anybody has said who they are.

Django spools a whole body before any view runs, and uvicorn waits for a request's head without end.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_BODY_BYTES = 64 * 1024 * 1024
"""An upload of many report files."""
BODY_SECONDS = 120.0
HEAD_SECONDS = 15.0
LAST_HEAD_SECONDS = 1.0
"""So long, when the console ends, for the head of who has just come."""
MAX_HEAD_BYTES = 32 * 1024

Message = dict[str, Any]  # ASGI's messages are untyped


class BodyTooLarge(Exception):
    """The client sends more than MAX_BODY_BYTES."""


class BoundedBodies:
    """An ASGI application whose request bodies have a size and a time."""

    def __init__(self, application: Any) -> None:  # noqa: ANN401 - ASGI applications are untyped
        self.application = application

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] != "http":
            return
        if _declared_length(scope) > MAX_BODY_BYTES:
            await _refuse(send)
            return
        seen = 0
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        is_whole = False

        async def bounded_receive() -> Message:
            nonlocal seen, is_whole
            if is_whole:  # what is still to come is only the end of the connection, and may take its time
                return await receive()  # type: ignore[no-any-return]  # untyped
            try:
                async with asyncio.timeout_at(deadline):
                    message: Message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            seen += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if seen > MAX_BODY_BYTES:
                raise BodyTooLarge
            return message

        try:
            await self.application(scope, bounded_receive, send)
        except BodyTooLarge:
            await _refuse(send)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol with a deadline for the head of each request: who only waits is closed. At the end uvicorn
    cuts off who has not asked yet; here it is answered, if it has just come and asks at once.
    """

    _head_deadline: asyncio.TimerHandle | None = None
    _is_last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._forget_head()
            if self._is_last:
                super().shutdown()
        elif self._head_deadline is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.cycle:  # it has asked before, if it does not ask now
            super().shutdown()
            return
        self._is_last = True
        self._forget_head()
        self._expect_head(LAST_HEAD_SECONDS)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self, seconds: float | None = None) -> None:
        self._head_deadline = self.loop.call_later(seconds or HEAD_SECONDS, self._close_idle)

    def _forget_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _close_idle(self) -> None:
        self._head_deadline = None
        if not self._is_answering():
            self.transport.close()


def _declared_length(scope: Message) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _refuse(send: Any) -> None:  # noqa: ANN401 - ASGI is untyped
    text = f"A request has at most {MAX_BODY_BYTES} bytes.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})
