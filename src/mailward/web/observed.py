"""The console's front: requests are counted, and /healthz is answered before Django and the database are asked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.net import clock, tracing
from mailward.net.networks import Networks

HEALTH_PATH = "/healthz"
Message = dict[str, Any]  # ASGI's messages are untyped


class Observed:
    """An ASGI application in front of the other."""

    def __init__(self, application: Any, trusted: Sequence[str] = ()) -> None:  # noqa: ANN401 - ASGI is untyped
        """`trusted`: networks of the servers in front whose `traceparent` is believed: a stranger could else join any
        trace, or have every request sampled.
        """
        self.application = application
        self._trusted = Networks(trusted)
        self.statuses: Counter[int] = Counter()
        self.seconds = catalogue.HTTP_SECONDS.make()
        self.active = 0

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await _answer_health(scope["method"], send)
            return
        started, status = clock.monotonic(), 0
        self.active += 1

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self._span(scope):
                await self.application(scope, receive, watched_send)
                tracing.note("http.response.status_code", status)
        finally:
            self.active -= 1
            self.statuses[status] += 1
            self.seconds.observe(clock.monotonic() - started)

    def _span(self, scope: Message) -> AbstractContextManager[object]:
        if scope["type"] != "http" or not tracing.is_on():
            return nullcontext()
        peer = (scope.get("client") or ("", 0))[0]
        told = dict(scope["headers"]).get(b"traceparent", b"") if self._trusted.include(peer) else b""
        # never the path: links that people get by mail hold tokens
        attributes = {"http.request.method": scope["method"]}
        return tracing.span_of("console request", told.decode("ascii", "replace"), attributes)

    def families(self) -> Iterator[Family]:
        answers = {200: 0, 500: 0, **self.statuses}
        # 0: the client went away before there was an answer
        yield catalogue.HTTP_REQUESTS.of(
            {("console", str(each)): count for each, count in answers.items() if each}
        )
        yield catalogue.HTTP_SECONDS.of({("console",): self.seconds})
        yield catalogue.HTTP_CONNECTIONS.of({("console",): self.active})


async def _answer_health(method: str, send: Any) -> None:  # noqa: ANN401 - ASGI is untyped
    """That the loop turns: nothing is asked, so that a balancer may ask often, and a slow database moves nobody."""
    allowed = method in ("GET", "HEAD")
    body = b'{"status": "ok"}\n' if allowed else b""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200 if allowed else 405, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
