"""What an HTTP handler sees: requests, responses, and the limits that stand between it and a stranger."""

import functools
import http
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

import msgspec

_NO_CONTROL = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Every bound of the server. The defaults suit a server of small resources on the open Internet."""

    head_bytes: int = 16 * 1024
    """Request line and header fields together; more is answered 431."""
    headers: int = 64
    body_bytes: int = 64 * 1024
    """Of one request, after chunked coding is undone; more is answered 413."""
    all_bodies_bytes: int = 256 * 1024 * 1024
    """Of all requests at once; more is answered 503."""
    handshake_seconds: float = 10
    head_seconds: float = 10
    """From the first byte of a request (of a connection: from its start) to the end of the header."""
    body_seconds: float = 30
    """A body may take longer only while it comes at `body_bytes_per_second`."""
    body_bytes_per_second: int = 4 * 1024
    handler_seconds: float = 60
    idle_seconds: float = 15
    """Of a kept-alive connection between requests."""
    write_seconds: float = 20
    """How long a peer may leave our answer unread."""
    linger_seconds: float = 2
    """How long we go on reading, after an early answer, so that a reset does not destroy it on its way."""
    connections: int = 2_000
    """When all are taken, the oldest idle one gives way, else a stalled one; else the new one is refused."""
    connections_an_address: int = 100
    """An IPv6 /64 counts as one address. Loopback, where a TLS front connects from, is not counted."""
    count_loopback: bool = False
    requests_a_connection: int = 1_000
    pipelined: int = 16
    write_buffer_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request. Header names are in lower case, and repeated ones are joined by a comma."""

    method: str
    path: str
    """As sent: percent-encoding is kept, the query is apart."""
    query: str
    host: str
    """Of the target or the Host field: lower case, without port and trailing dot. Not vetted otherwise."""
    headers: Mapping[str, str]
    body: bytes
    peer: str
    """The address of the other end."""
    server_name: str | None
    """What the client named in its TLS handshake (SNI); None without TLS, or where it named nothing."""
    secure: bool


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that was answered, for the access log. `request` is None where none could be read."""

    request: Request | None
    peer: str
    status: int
    body_bytes: int
    seconds: float


Handler = Callable[[Request], Response | Awaitable[Response]]
"""Answers one request. A plain function runs on the event loop: it must not block."""
Admit = Callable[[Request], Response | None]
"""Looks at a request before its body is read (`body` is empty); a response turns it away."""
OnFinished = Callable[[Finished], None]


class Shortcut(msgspec.Struct, frozen=True):
    """An answer that was ready: the octets of the whole response."""

    data: bytes
    close: bool
    """Whether it says `Connection: close`."""


TakeShortcut = Callable[[bytes, str, str | None], Shortcut | None]
"""Sees octets that a request begins with, the peer's address and the server name, before they are read as HTTP. None:
read them. It answers for a complete request alone, whose every octet it understood.
"""


def refusal(status: int, detail: str = "") -> Response:
    """The short text that goes with a status of our own making."""
    phrase = http.HTTPStatus(status).phrase
    headers = (("Retry-After", "30"),) if status == http.HTTPStatus.SERVICE_UNAVAILABLE else ()
    return Response(status, f"{detail or phrase}\n".encode(), headers=headers)


@functools.lru_cache(maxsize=2)
def date_line(timestamp: int) -> str:
    """Of a response (RFC 9110 section 6.6.1), without its CRLF."""
    return f"Date: {formatdate(timestamp, usegmt=True)}"


def serialise_response(response: Response, *, head_only: bool, close: bool, timestamp: float) -> bytes:
    """The bytes of a response. Raises ValueError where a header value would break out of its line."""
    lines = [
        f"HTTP/1.1 {response.status} {http.HTTPStatus(response.status).phrase}",
        date_line(int(timestamp)),
        "Server: Mailward",
    ]
    if response.status != http.HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(response.body)}")
    if response.body:
        lines.append(f"Content-Type: {response.content_type}")
    lines += [f"{name}: {value}" for name, value in response.headers]
    if close:
        lines.append("Connection: close")
    if not all(_NO_CONTROL.match(line) for line in lines):
        raise ValueError("a response header holds a control character")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if head_only else head + response.body
