"""POST a document to a URL: one attempt, no redirect, every step bounded.

The name is resolved once, the addresses must pass the guard, and to one of those very addresses is connected.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mailward.core.names import is_address
from mailward.net.guard import AddressRefused, Guard
from mailward.net.resolver import Resolver

TOTAL_SECONDS = 20.0
CONNECT_SECONDS = 7.0
MAX_STATUS_LINE = 4096
_MAX_HEADER_LINES = 100
_MAX_ADDRESSES = 3
_MAX_RETRY_AFTER = 24 * 3600
_SUCCESS = range(200, 300)


class PostError(Exception):
    """The other side did not take it; the text says why."""

    code = "webpost"

    def __init__(self, detail: str, *, was_sent: bool = False, is_final: bool = False) -> None:
        super().__init__(detail)
        self.was_sent = was_sent
        """The document was sent, and no answer came: it may have been taken."""
        self.is_final = is_final
        """Nobody may connect there: asking again is of no use."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    retry_after: int = 0
    """Seconds, where the answer says so in seconds; bounded."""

    @property
    def is_success(self) -> bool:
        return self.status in _SUCCESS


async def post_json(url: str, body: bytes, *, resolver: Resolver, guard: Guard) -> None:
    """Returns when the answer was 2xx. Raises PostError."""
    reply = await post(url, body, "application/json", resolver=resolver, guard=guard)
    if not reply.is_success:
        raise PostError(f"it answered {reply.status}")


async def post(
    url: str,
    body: bytes,
    media_type: str,
    *,
    resolver: Resolver,
    guard: Guard,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Reply:
    """What the server answers, whatever it is. `headers`: more of them, ours. Raises PostError."""
    exchange = _Exchange(url, resolver, guard, context or ssl.create_default_context())
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await exchange.run(body, media_type, headers or {})
    except TimeoutError as error:
        text = f"no answer within {TOTAL_SECONDS:.0f} seconds"
        raise PostError(text, was_sent=exchange.was_sent) from error
    except ssl.SSLCertVerificationError as error:
        raise PostError(f"its certificate is not trusted: {error.verify_message}") from error
    except AddressRefused as error:
        raise PostError(str(error), is_final=True) from error
    except (OSError, EOFError, ValueError) as error:
        raise PostError(str(error) or type(error).__name__, was_sent=exchange.was_sent) from error


class _Exchange:
    def __init__(self, url: str, resolver: Resolver, guard: Guard, context: ssl.SSLContext) -> None:
        self._url, self._resolver, self._guard, self._context = url, resolver, guard, context
        self.was_sent = False

    async def run(self, body: bytes, media_type: str, headers: Mapping[str, str]) -> Reply:
        parts = urlsplit(self._url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise PostError(
                "the URL must be http:// or https:// and name a host, without a user", is_final=True
            )
        head = _head(parts.path, parts.query, parts.netloc, media_type, len(body), headers)
        is_secure = parts.scheme == "https"
        reader, writer = await self._connect(host, port or (443 if is_secure else 80), is_secure=is_secure)
        try:
            self.was_sent = True  # what is written may arrive, whatever happens from here on
            writer.write(head + body)
            with contextlib.suppress(
                ConnectionError
            ):  # an answer may lie there: some refuse before they have read
                await writer.drain()
            return await _read_reply(reader)
        finally:
            writer.transport.abort()  # nothing more is wanted of this peer, not even its goodbye

    async def _connect(
        self, host: str, port: int, *, is_secure: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure: OSError | None = None
        for address in await self._addresses(host):
            self._guard.check(address, port)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(
                        address,
                        port,
                        ssl=self._context if is_secure else None,
                        server_hostname=host if is_secure else None,
                        limit=MAX_STATUS_LINE,
                    )
            except ssl.SSLError:
                raise
            except TimeoutError:
                failure = OSError(
                    f"{address}, port {port}, did not connect within {CONNECT_SECONDS:.0f} seconds"
                )
            except OSError as error:
                failure = error
        raise failure or OSError("no address")

    async def _addresses(self, host: str) -> Sequence[str]:
        if is_address(host):
            return (host,)
        answer = await self._resolver.addresses(host)
        if not answer.records:
            raise PostError(f"{host} has no address: {answer.reason or answer.status}")
        return answer.records[:_MAX_ADDRESSES]


def _head(
    path: str, query: str, authority: str, media_type: str, length: int, headers: Mapping[str, str]
) -> bytes:
    target = (path or "/") + (f"?{query}" if query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {authority}",
        "User-Agent: Mailward",
        f"Content-Type: {media_type}",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Connection: close",
    ]
    text = "\r\n".join(lines)
    if not target.isascii() or not target.isprintable() or " " in target:
        raise PostError("the path of the URL must be ASCII, percent-encoded", is_final=True)
    return (text + "\r\n\r\n").encode("ascii")


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    status = 100
    while status in range(100, 200):  # 1xx announces another head
        status = _read_status(await reader.readline())
        retry_after = await _read_header(reader)
    return Reply(status, retry_after)


def _read_status(line: bytes) -> int:
    if not line:
        raise PostError("it closed the connection without an answer", was_sent=True)
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise PostError("it does not speak HTTP/1.1", was_sent=True)
    return int(rest[:3])


async def _read_header(reader: asyncio.StreamReader) -> int:
    """Retry-After in seconds (RFC 9110 section 10.2.3), 0 where there is none in seconds."""
    seconds = 0
    for _ in range(_MAX_HEADER_LINES):
        try:
            line = await reader.readline()
        except (OSError, ValueError):  # the status is known: what is wrong with the rest is of no interest
            return seconds
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"retry-after" and value.strip()[:9].isdigit():
            seconds = min(int(value.strip()[:9]), _MAX_RETRY_AFTER)
        if line in (b"\r\n", b"\n", b""):
            return seconds
    return seconds
