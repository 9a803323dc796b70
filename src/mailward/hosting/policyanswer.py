"""The answer that gives a policy (RFC 8461 section 3.3), and the short way to it.

Nearly all requests look alike: GET, the one path, a handful of harmless fields. Those are recognised as they stand and
answered from octets that were made before; whatever differs in anything goes the long way, through the HTTP
parser, and gets the same answer there where it deserves it.
"""

import functools
import hashlib
import re
from email.utils import formatdate, parsedate_to_datetime

import msgspec

from mailward.net.httpmessage import Request, Response, Shortcut, date_line

POLICY_PATH = "/.well-known/mta-sts.txt"
CACHE_SECONDS = 60
"""So long a reverse proxy in front of us may keep an answer: what RFC 8461 section 8.2 suggests to the origin."""
_CACHE = f"max-age={CACHE_SECONDS}"
_OK = b"HTTP/1.1 200 OK\r\n"
_PLAIN = re.compile(
    rb"(GET|HEAD) /\.well-known/mta-sts\.txt HTTP/1\.1\r\n((?:[A-Za-z-]{1,30}: ?[!-~][ -~]{0,300}\r\n){0,15})\r\n"
)
_HOST = b"\r\nHost: "
_NAME = re.compile(rb"[!-~]{1,255}")
_MAX_PLAIN_BYTES = 1_400
"""Senders' requests have 100 to 200."""
_HARMLESS = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"accept-charset",
        b"cache-control",
        b"pragma",
        b"dnt",
    )
)
"""Fields that change nothing about the answer: their values are not looked at."""


class PlainRequest(msgspec.Struct, frozen=True):
    """A request that was recognised as it stands."""

    host: str
    user_agent: str
    head_only: bool
    close: bool


def read_plain(data: bytes) -> PlainRequest | None:
    """What `data` asks for, where it is one whole request of the plain kind and nothing else."""
    before, _, after = data.partition(_HOST)
    host, _, after = after.partition(b"\r\n")
    # nothing after it: the blank line that ends the head came before it
    if not after or len(data) > _MAX_PLAIN_BYTES or not _NAME.fullmatch(host):
        return None
    others = _read_others(b"%b\r\n%b" % (before, after))
    return None if others is None else PlainRequest(host.decode("ascii"), *others)


@functools.lru_cache(maxsize=1_000)
def _read_others(data: bytes) -> tuple[str, bool, bool] | None:
    """User-Agent, whether it is HEAD, and whether to close, of a request without its Host. The requests of a sender
    differ in nothing else, so that most of them were read before.
    """
    match = _PLAIN.fullmatch(data)
    if match is None:
        return None
    user_agent = connection = None
    for line in match[2].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"user-agent" and user_agent is None:
            user_agent = value.strip()
        elif name == b"connection" and connection is None:
            connection = value.strip().lower()
        elif name not in _HARMLESS:  # a second Host, too
            return None
    if connection not in (None, b"close", b"keep-alive"):
        return None
    return (user_agent or b"").decode("ascii"), match[1] == b"HEAD", connection == b"close"


def make_shortcut(
    body: bytes, modified: int | None, *, head_only: bool, close: bool, timestamp: float
) -> Shortcut:
    """The octets of the answer to a plain request."""
    parts = [_OK, _date(int(timestamp)), _rest_of_head(body, modified), b"Connection: close\r\n\r\n"]
    if not close:
        parts[3] = b"\r\n"
    if not head_only:
        parts.append(body)
    return Shortcut(b"".join(parts), close)


def answer_policy(request: Request, body: bytes, modified: int | None) -> Response:
    """To GET or HEAD for the policy. `modified`: since when it is served, in seconds since 1970; None: not known."""
    headers = _validators(body, modified)
    if _is_current(request, body, modified):
        return Response(304, headers=headers)
    return Response(200, body, content_type="text/plain", headers=headers)


def _is_current(request: Request, body: bytes, modified: int | None) -> bool:
    # RFC 9110 §13.2.2: where If-None-Match is there, If-Modified-Since is not looked at
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        return "*" in tags or make_etag(body) in tags
    since = request.headers.get("if-modified-since")
    if since is None or modified is None:
        return False
    try:
        return modified <= parsedate_to_datetime(since).timestamp()
    except (ValueError, TypeError, OverflowError):  # RFC 9110 §13.1.3: what is no date is ignored
        return False


@functools.lru_cache(maxsize=10_000)
def make_etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


def _validators(body: bytes, modified: int | None) -> tuple[tuple[str, str], ...]:
    headers = [("Cache-Control", _CACHE), ("ETag", make_etag(body))]
    if modified is not None:
        headers.append(("Last-Modified", formatdate(modified, usegmt=True)))
    return tuple(headers)


@functools.lru_cache(maxsize=10_000)
def _rest_of_head(body: bytes, modified: int | None) -> bytes:
    lines = ["Server: Mailward", f"Content-Length: {len(body)}", "Content-Type: text/plain"]
    lines += [f"{name}: {value}" for name, value in _validators(body, modified)]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


@functools.lru_cache(maxsize=2)
def _date(timestamp: int) -> bytes:
    return f"{date_line(timestamp)}\r\n".encode("ascii")
