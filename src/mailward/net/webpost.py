"""POST a JSON document to a URL of the operator's: one attempt, no redirect, every step bounded.

The name is resolved once, the address must pass the guard, and to that very address is connected.
"""

import asyncio
import ssl
from urllib.parse import urlsplit

from mailward.net.guard import AddressRefused, Guard
from mailward.net.resolver import Resolver

TOTAL_SECONDS = 20.0
MAX_STATUS_LINE = 4096
_SUCCESS = range(200, 300)


class PostError(Exception):
    """The other side did not take it; the text says why."""

    code = "webpost"


async def post_json(url: str, body: bytes, *, resolver: Resolver, guard: Guard) -> None:
    """Returns when the answer was 2xx. Raises PostError."""
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            await _post(url, body, resolver, guard)
    except TimeoutError as error:
        raise PostError(f"no answer within {TOTAL_SECONDS:.0f} seconds") from error
    except (OSError, EOFError, ValueError, AddressRefused) as error:
        raise PostError(str(error) or type(error).__name__) from error


async def _post(url: str, body: bytes, resolver: Resolver, guard: Guard) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise PostError("the URL must be http:// or https:// and name a host, without a user")
    address = await _resolve(host, resolver)
    guard.check(address)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        address,
        port or (443 if secure else 80),
        ssl=ssl.create_default_context() if secure else None,
        server_hostname=host if secure else None,
        limit=MAX_STATUS_LINE,
    )
    try:
        writer.write(_head(parts.path, parts.query, parts.netloc, len(body)) + body)
        await writer.drain()
        status = _read_status(await reader.readline())
    finally:
        writer.close()
    if status not in _SUCCESS:
        raise PostError(f"it answered {status}")


async def _resolve(host: str, resolver: Resolver) -> str:
    answer = await resolver.addresses(host)
    if not answer.records:
        raise PostError(f"{host} has no address: {answer.reason or answer.status}")
    return answer.records[0]


def _head(path: str, query: str, authority: str, length: int) -> bytes:
    target = (path or "/") + (f"?{query}" if query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"Host: {authority}",
        "User-Agent: Mailward",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
    ]
    text = "\r\n".join(lines)
    if not target.isascii() or not target.isprintable() or " " in target:
        raise PostError("the path of the URL must be ASCII, percent-encoded")
    return (text + "\r\n\r\n").encode("ascii")


def _read_status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise PostError("it does not speak HTTP/1.1")
    return int(rest[:3])
