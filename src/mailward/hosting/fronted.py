"""The policy host behind HTTPS servers of the operator's (fronts, such as Caddy): plain HTTP, for listed addresses.

A front holds the certificates and passes requests on; we answer by Host, and count the client that the front names
in X-Forwarded-For. Before it orders a certificate it asks whether it may (`/ask?domain=mta-sts.example.org`, as
Caddy's on-demand TLS does): else any stranger's handshake would be an order at the CA.

Everything is answered from memory: no question of a front's waits for the database.
"""

import dataclasses
import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

from mailward.config import Settings
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net.httpserver import Finished, HttpLimits, Request, Response, Server, refusal, serve_http
from mailward.net.listening import at_port, open_streams

ASK_PATH = "/ask"
FORWARDED = "x-forwarded-for"
LIMITS = HttpLimits(
    body_bytes=0,
    connections=10_000,
    connections_an_address=10_000,
    # longer than Caddy (two minutes) and nginx (one) keep theirs: who closes first must not be we
    idle_seconds=150,
    requests_a_connection=100_000,
)
"""Few clients, all known, with connections that they use again and again. Real clients are the front's to limit."""
_MAX_HOPS = 16
_MAX_NAME = 253


class FrontedHost:
    """Answers fronts with what the policy host answers its clients."""

    def __init__(
        self,
        answer: Callable[[Request], Response],
        finished: Callable[[Finished], None],
        keeper: SnapshotKeeper,
        is_front: Callable[[str], bool],
    ) -> None:
        self._answer, self._finished = answer, finished
        self._keeper = keeper
        self.is_front = is_front

    def answer(self, request: Request) -> Response:
        # what somebody sends through the front is no question of the front's
        if request.path == ASK_PATH and FORWARDED not in request.headers:
            return self._may_order(request)
        return self._answer(dataclasses.replace(request, peer=self._client(request)))

    def finished(self, finished: Finished) -> None:
        request = finished.request
        if request is not None and FORWARDED in request.headers:
            finished = dataclasses.replace(finished, peer=self._client(request))
        self._finished(finished)

    def _may_order(self, request: Request) -> Response:
        """Whether a certificate may be ordered for the name: 200 or 404."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers=(("Allow", "GET, HEAD"),))
        try:
            asked = parse_qs(request.query, max_num_fields=4).get("domain", [])
        except ValueError:
            asked = []
        name = asked[0].lower().removesuffix(".") if len(asked) == 1 else ""
        snapshot = self._keeper.current
        if len(name) <= _MAX_NAME and name in snapshot.leading and name in snapshot.policies:
            return Response(200, b"yes\n")
        return refusal(404, "no")

    def _client(self, request: Request) -> str:
        """Whom the front speaks for: the last one in X-Forwarded-For that is no front itself. What stands before it is
        the client's own word.
        """
        for text in reversed(request.headers.get(FORWARDED, "").split(",")[-_MAX_HOPS:]):
            try:
                address = str(ipaddress.ip_address(text.strip()))
            except ValueError:
                break
            if not self.is_front(address):
                return address
        return request.peer


async def serve_fronts(
    settings: Settings,
    host: FrontedHost,
    *,
    port: int | None = None,
    sockets: Sequence[socket.socket] = (),
) -> Server:
    """On `sockets`, or else at the settings' addresses. Raises OSError where one cannot be had."""
    return await serve_http(
        host.answer,
        sockets=sockets or open_streams(at_port(settings.front_places, port)),
        limits=LIMITS,
        on_finished=host.finished,
        may_connect=host.is_front,
    )
