"""The HTTPS door: `POST /v1/tlsrpt/<token>` (RFC 8460 section 5.4).

201 means committed and new, 200 committed and known already. What came this way is never counted by itself:
the `rua` with its token stands in public DNS, so a token proves nothing about who sent the report.
"""

import logging
import re
import socket
from collections.abc import Callable, Sequence

from mailward.config import Settings
from mailward.ingest.accept import Arrival
from mailward.ingest.acceptor import Acceptor
from mailward.ingest.addresses import AddressBook
from mailward.ingest.errors import StoreBusy, TooMuchToday
from mailward.net import clock
from mailward.net.certificates import Certificates
from mailward.net.httpserver import Finished, HttpLimits, Request, Response, Server, refusal, serve_http
from mailward.store.models import Door

_log = logging.getLogger("mailward.ingest.https")

PATH = "/v1/tlsrpt/"
# RFC 8460 §5.4
MEDIA_TYPES = frozenset({"application/tlsrpt+gzip", "application/tlsrpt+json"})
_TARGET = re.compile(re.escape(PATH) + r"([A-Za-z0-9._-]{1,64})", re.ASCII)
_RETRY_AFTER = ("Retry-After", "300")
_BUSY = b"The report could not be stored, try again later\n"


class HttpsDoor:
    """Answers requests."""

    def __init__(self, acceptor: Acceptor, book: AddressBook) -> None:
        self._acceptor, self._book = acceptor, book

    def admit(self, request: Request) -> Response | None:
        """Turn away what is no report before its body is read."""
        if _TARGET.fullmatch(request.path) is None:
            return refusal(404, f"Reports go to {PATH} and the token of a domain.")
        if request.method != "POST":
            return Response(405, b"POST a report\n", headers=(("Allow", "POST"),))
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in MEDIA_TYPES:
            return refusal(415, f"Content-Type must be one of {', '.join(sorted(MEDIA_TYPES))}.")
        if "content-encoding" in request.headers:
            return refusal(415, "Content-Encoding is not understood: use application/tlsrpt+gzip.")
        return None

    async def answer(self, request: Request) -> Response:
        if (refused := self.admit(request)) is not None:
            return refused
        if not request.body:
            return refusal(411 if "content-length" not in request.headers else 400, "The body is empty.")
        token = request.path.removeprefix(PATH)
        try:
            address = await self._book.find(token)
            if address is None:
                return refusal(404, "There is no such token.")
            arrival = Arrival(Door.HTTPS, address, request.body, clock.now())
            stored = await self._acceptor.accept(arrival)
        except StoreBusy:
            return Response(503, _BUSY, headers=(_RETRY_AFTER,))
        except TooMuchToday:
            return Response(429, b"Too much today that nobody vouches for\n", headers=(_RETRY_AFTER,))
        if stored.quarantine_id is not None and not stored.report_ids:
            return refusal(400, "The body cannot be read as a TLS report (RFC 8460 section 4).")
        if stored.new:
            return Response(201, b"Stored\n")
        return Response(200, b"Known already\n")


async def serve_https(
    acceptor: Acceptor,
    book: AddressBook,
    settings: Settings,
    certificates: Certificates,
    *,
    sockets: Sequence[socket.socket],
    is_proxy: Callable[[str], bool] | None = None,
) -> Server:
    """Take posted reports until closed, on sockets that listen already."""
    door = HttpsDoor(acceptor, book)
    return await serve_http(
        door.answer,
        sockets=sockets,
        is_proxy=is_proxy,
        # a sender that names no host, or connects by address, gets our own certificate
        ssl_context=certificates.server_context(settings.https_name),
        context_for=certificates.context_for,
        limits=HttpLimits(body_bytes=settings.reports.max_message_bytes),
        admit=door.admit,
        on_finished=_log_request,
    )


def _log_request(finished: Finished) -> None:
    # never the path: it holds the token
    _log.info(
        "request",
        extra={
            "peer": finished.peer,
            "method": finished.request.method if finished.request else "",
            "status": finished.status,
            "ms": round(finished.seconds * 1000, 2),
        },
    )
