"""Fetch a policy the way a sender must (RFC 8461 section 3.3), and keep what was seen on the way.

HTTPS with the certificate checked for `mta-sts.<domain>`, no redirect, status 200 only, media type
text/plain, no cache. The name is resolved once, and only to that vetted address is connected: a name that
changes its mind between check and connect (DNS rebinding) gains nothing.
"""

import asyncio
import functools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path

import httptools

from mailward.core.mtasts.policy import MAX_POLICY_BYTES, Level, Policy, Problem, lint_policy
from mailward.core.names import Domain
from mailward.core.tlsrpt.results import ResultType
from mailward.net import clock
from mailward.net.guard import AddressRefused, Guard
from mailward.net.httpsexchange import HttpsExchange, TlsFacts, tls_facts
from mailward.net.quota import Quota
from mailward.net.resolver import Answer, Resolver, Status
from mailward.net.tlspipe import TlsPipe

WELL_KNOWN = "/.well-known/mta-sts.txt"
CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 60.0  # RFC 8461 §3.3 suggests one minute
MAX_ADDRESSES = 4  # tried in turn while connecting fails
_MAX_RAW_BYTES = MAX_POLICY_BYTES + 64 * 1024  # head and chunk framing have as much again


class Client(StrEnum):
    """Who we say that we are: some hosts serve one and turn another away."""

    MAILWARD = "mailward"
    BARE = "without User-Agent and Accept"
    BROWSER = "like a browser"


_CLIENT_LINES = {
    Client.MAILWARD: "Accept: text/plain\r\n",
    Client.BARE: "",
    Client.BROWSER: "User-Agent: Mozilla/5.0 (compatible; Mailward)\r\nAccept: text/html,*/*;q=0.8\r\n",
}


@dataclass(frozen=True, slots=True)
class FetchResult:
    policy: Policy
    problems: tuple[Problem, ...]
    """Warnings and notes about the policy."""
    body: bytes
    content_type: str
    address: str
    connection: ssl.SSLObject
    """It has ended, and still tells of itself."""
    seconds: float
    date: str = ""
    """Of the response's head."""

    @property
    def tls(self) -> TlsFacts:
        """Read when asked for: a sender never does."""
        return tls_facts(self.connection)

    @property
    def served_at(self) -> datetime | None:
        """What time it is there, where the response has a usable Date."""
        return _date(self.date)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was known of the connection when something failed."""

    address: str | None = None
    connection: ssl.SSLObject | None = None
    """Where the handshake was completed."""


class FetchError(Exception):
    """No policy. `code` is a stable slug, `result_type` what a sender would report (RFC 8460 section 4.3)."""

    def __init__(
        self,
        code: str,
        message: str,
        result_type: ResultType = ResultType.STS_POLICY_FETCH_ERROR,
        *,
        seen: _Seen = _Seen(),
        problems: tuple[Problem, ...] = (),
        body: bytes = b"",
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.result_type = result_type
        self.address = seen.address
        self.tls = tls_facts(seen.connection) if seen.connection else None
        self.problems = problems
        """What is wrong with the policy, where one was served."""
        self.body = body
        self.status = status
        """Of HTTP, where it is what failed."""
        self.is_connected = True
        """False: nobody took the connection (TCP), whatever name was meant."""


async def fetch_policy(
    domain: Domain,
    *,
    resolver: Resolver,
    guard: Guard,
    ca_file: Path | None = None,
    port: int = 443,
    connect_seconds: float = CONNECT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    quota: Quota | None = None,
) -> FetchResult:
    """The policy that the domain serves now. `ca_file` replaces the system's authorities. `quota`: how many connections
    an address may have. Raises FetchError.
    """
    host = f"mta-sts.{domain}"
    started = clock.monotonic()
    try:
        async with asyncio.timeout(total_seconds):
            addresses = _vet(host, await resolver.addresses(host), guard, port)
            if quota is not None:
                addresses = await _within(host, addresses, port, guard, quota)
            way = _Way(make_tls_context(ca_file), port, connect_seconds)
            return await _fetch_from(host, addresses, way, started)
    except TimeoutError as error:
        raise FetchError(
            "timeout", f"{host} did not deliver the policy within {total_seconds:g} seconds"
        ) from error


async def fetch_policy_at(
    domain: Domain,
    address: str,
    *,
    guard: Guard,
    ca_file: Path | None = None,
    port: int = 443,
    connect_seconds: float = CONNECT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    client: Client = Client.MAILWARD,
) -> FetchResult:
    """The policy that this one address serves, for who compares them. Raises FetchError."""
    host = f"mta-sts.{domain}"
    try:
        guard.check(address, port)
        async with asyncio.timeout(total_seconds):
            way = _Way(make_tls_context(ca_file), port, connect_seconds, client)
            return await _fetch_from(host, [address], way, clock.monotonic())
    except AddressRefused as error:
        raise FetchError(error.code, f"{host}: {error}", seen=_Seen(address)) from error
    except TimeoutError as error:
        message = f"{host} at {address} did not deliver the policy within {total_seconds:g} seconds"
        raise FetchError("timeout", message, seen=_Seen(address)) from error


def why_no_address(answer: Answer[str]) -> str:
    """To be said behind the name."""
    return {
        Status.NXDOMAIN: "does not exist in DNS",
        Status.NODATA: "has no address in DNS",
    }.get(answer.status, f"could not be resolved: {answer.reason}")


def _vet(host: str, answer: Answer[str], guard: Guard, port: int) -> list[str]:
    if not answer.found:
        raise FetchError("dns", f"{host} {why_no_address(answer)}")
    allowed, refusal = [], ""
    for address in answer.records[:MAX_ADDRESSES]:
        try:
            guard.check(address, port)
            allowed.append(address)
        except AddressRefused as error:
            refusal = str(error)
    if not allowed:
        raise FetchError("address-refused", f"{host}: {refusal}", seen=_Seen(answer.records[0]))
    return allowed


async def _within(host: str, addresses: list[str], port: int, guard: Guard, quota: Quota) -> list[str]:
    """Those that may have one more connection. Raises FetchError where none may."""
    free, full = [], ""
    for address in addresses:
        if guard.is_served_here(address, port) or not (reason := await quota.take(address, 1)):
            free.append(address)
        else:
            full = reason
    if not free:
        raise FetchError("quota", f"{host}: {full}")
    return free


@functools.lru_cache(maxsize=4)
def make_tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """One for policy hosts, the same for the same file. Raises FetchError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one, and its words are OpenSSL's
        reason = str(error) if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise FetchError("ca-file", f"{ca_file} holds no usable certificates: {reason}") from error
    context.hostname_checks_common_name = False  # RFC 8461 §3.3: only DNS-IDs are compared
    # what Python 3.13 adds (RFC 5280 to the letter) no sending MTA asks for: we judge as they do
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True)
class _Way:
    context: ssl.SSLContext
    port: int
    connect_seconds: float
    client: Client = Client.MAILWARD


async def _fetch_from(host: str, addresses: list[str], way: _Way, started: float) -> FetchResult:
    response = await _ask_any(host, addresses, way)
    _judge_head(response, response.seen)
    body, seen = bytes(response.body), response.seen
    policy, problems = lint_policy(body)
    if policy is None:
        first = next(problem for problem in problems if problem.level is Level.INVALID)
        message = f"{host} serves a policy that senders must not use: {first}"
        raise FetchError(
            "policy-invalid", message, ResultType.STS_POLICY_INVALID, seen=seen, problems=problems, body=body
        )
    return FetchResult(
        policy,
        problems,
        body,
        response.headers["content-type"],
        response.address,
        response.connection,
        clock.monotonic() - started,
        response.headers.get("date", ""),
    )


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def _ask_any(host: str, addresses: list[str], way: _Way) -> "_Response":
    """The response of the first address that a connection can be made to."""
    failure = FetchError("connect", f"{host} has no address")
    for address in addresses:
        pipe = TlsPipe(way.context, host)
        response = _Response(address, pipe.connection)
        try:
            await _ask(host, way, pipe, response)
        except OSError as error:  # TimeoutError, ConnectionError and ssl.SSLError are some of them
            if pipe.ready:
                message = f"{host} broke the connection: {error}"
                raise FetchError("connection", message, seen=_Seen(address)) from error
            failure = _why_unconnected(error, host, address, way)
            failure.is_connected = response.is_connected
            failure.__cause__ = error  # its errno tells a dead host from a way that we do not have
            if isinstance(error, ssl.SSLCertVerificationError):
                # final: a sender does not look for a better certificate at the next address
                raise failure from error
        else:
            return response
    raise failure


async def _ask(host: str, way: _Way, pipe: TlsPipe, response: "_Response") -> None:
    """Raises FetchError, TimeoutError before the handshake is over, or what broke the connection."""
    async with asyncio.timeout(way.connect_seconds) as limit:
        exchange = HttpsExchange(pipe, _request(host, way), response, lambda: limit.reschedule(None))
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: exchange, response.address, way.port
        )
        response.is_connected = True
        try:
            await exchange.done
        finally:
            response.forget_parser()
            # nothing more is wanted of this peer, not even its goodbye; but it may hear why we refuse it
            transport.abort() if pipe.ready else transport.close()


def _why_unconnected(error: OSError, host: str, address: str, way: _Way) -> FetchError:
    seen = _Seen(address)
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"the certificate of {host} at {address} is not valid: {_why_untrusted(error)}"
        return FetchError(_certificate_code(error), message, ResultType.STS_WEBPKI_INVALID, seen=seen)
    if isinstance(error, TimeoutError):
        message = (
            f"{host} at {address}, port {way.port}, did not connect within {way.connect_seconds:g} seconds"
        )
        return FetchError("connect-timeout", message, seen=seen)
    if isinstance(error, ssl.SSLError):
        return FetchError("tls", f"no TLS with {host} at {address}: {error.reason or error}", seen=seen)
    message = f"no connection to {host} at {address}, port {way.port}: {error.strerror or error}"
    return FetchError("connect", message, seen=seen)


def _why_untrusted(error: ssl.SSLCertVerificationError) -> str:
    return f"{error.verify_message} (OpenSSL {error.verify_code})"


def _certificate_code(error: ssl.SSLCertVerificationError) -> str:
    return {
        9: "certificate-not-yet-valid",
        10: "certificate-expired",
        18: "certificate-self-signed",
        19: "certificate-self-signed",
        20: "certificate-untrusted",
        21: "certificate-untrusted",
        62: "certificate-name",
    }.get(error.verify_code, "certificate-invalid")


_agent = "Mailward (MTA-STS policy fetch)"


def introduce(contact_url: str) -> None:
    """From now on, policy hosts are told in User-Agent where to read who this process is. Empty: nowhere."""
    global _agent  # noqa: PLW0603 - one name a process is the point
    is_plain = contact_url.isascii() and contact_url.isprintable() and not set(contact_url) & set("();\\")
    where = f"; +{contact_url}" if contact_url and is_plain else ""
    _agent = f"Mailward (MTA-STS policy fetch{where})"


def _introduction(client: Client) -> str:
    lines = _CLIENT_LINES[client]
    return f"User-Agent: {_agent}\r\n{lines}" if client is Client.MAILWARD else lines


def _request(host: str, way: _Way) -> bytes:
    authority = host if way.port == 443 else f"{host}:{way.port}"
    # RFC 8461 §3.3: HTTP caching must not be used
    return (
        f"GET {WELL_KNOWN} HTTP/1.1\r\nHost: {authority}\r\n{_introduction(way.client)}"
        "Accept-Encoding: identity\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


class _Response:
    """Reads a response with httptools, whose callbacks these are; raises FetchError."""

    def __init__(self, address: str, connection: ssl.SSLObject) -> None:
        self.address = address
        self.connection = connection
        self.is_connected = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.head_complete = False
        self._complete = False
        self._raw_bytes = 0

    @property
    def seen(self) -> _Seen:
        return _Seen(self.address, self.connection)

    def on_message_begin(self) -> None:
        self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        if self._parser is not None:
            self.status = self._parser.get_status_code()
        self.head_complete = self.status >= 200  # 1xx announces another head

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self._complete = self.head_complete

    @property
    def ends_with_connection(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def feed(self, data: bytes) -> bool:
        """Whether all is there that counts."""
        self._raw_bytes += len(data)
        if self._parser is None:
            return True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._complete:
                return True  # what follows the policy is of no interest
            message = f"the response is no HTTP/1.1: {error}"[:200]
            raise FetchError("http-syntax", message, seen=self.seen) from error
        if self.head_complete and self.status != 200:
            return True  # its body is of no interest
        if len(self.body) > MAX_POLICY_BYTES or self._raw_bytes > _MAX_RAW_BYTES:
            message = f"the response is larger than {MAX_POLICY_BYTES} bytes"
            raise FetchError("too-large", message, seen=self.seen)
        return self._complete

    def forget_parser(self) -> None:
        """It and we know of each other: with it, all that TLS has would wait for the garbage collector."""
        self._parser = None

    def end(self) -> None:
        """No more comes."""
        if not (self.head_complete and self.ends_with_connection):
            message = "the connection ended in the middle of the response"
            raise FetchError("truncated", message, seen=self.seen)


def _judge_head(response: _Response, seen: _Seen) -> None:
    status, headers = response.status, response.headers
    if 300 <= status < 400:
        where = headers.get("location", "nowhere")[:200]
        message = f"the policy host redirects (status {status}) to {where!a}; senders must not follow"
        raise FetchError("redirect", message, seen=seen, status=status)
    if status != 200:
        message = f"the policy host answers with status {status}, not 200"
        raise FetchError("status", message, seen=seen, status=status)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError(
            "content-encoding", "the policy is compressed, though nobody asked for that", seen=seen
        )
    # RFC 8461 §3.2: guards against hosts where users may put pages of their own; parameters are ignored
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "text/plain":
        shown = ascii(media_type[:80]) if media_type else "missing"
        raise FetchError("media-type", f"the media type is {shown}, but must be text/plain", seen=seen)
