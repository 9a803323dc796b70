"""Bytes in, requests out: HTTP/1.1 (RFC 9112) without a socket.

llhttp (httptools) parses, strictly: bare LF, folded lines, two framings at once and the like are errors. This
module adds the limits, and turns callbacks into events that a connection can take one at a time.
"""

from dataclasses import dataclass, field, replace

import httptools

from mailward.net.httpmessage import HttpLimits, Request

_SLICE = 16 * 1024  # how far a pipelining peer can run ahead within one feed


@dataclass(frozen=True, slots=True)
class Arriving:
    """The head of a request that has a body."""

    request: Request
    wants_continue: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A complete request."""

    request: Request
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that are no request of ours. Nothing after them can be understood."""

    status: int
    reason: str


Event = Arriving | Arrived | Refused


@dataclass(slots=True)
class _Draft:
    target: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fields: int = 0
    size: int = 0
    request: Request | None = None
    body: bytearray = field(default_factory=bytearray)


class RequestReader:
    """Feed it what the peer sends; `in_head` and `body_size` tell which deadline and budget apply."""

    def __init__(self, limits: HttpLimits, *, peer: str, server_name: str | None, secure: bool) -> None:
        self._limits = limits
        self._peer, self._server_name, self._secure = peer, server_name, secure
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._draft: _Draft | None = None
        self._pending = 0  # bytes fed since the last complete head
        self._refused: Refused | None = None
        self._over = False

    @property
    def in_head(self) -> bool:
        """Whether a request has begun whose head is not complete."""
        return not self.in_body and (self._draft is not None or self._pending > 0)

    @property
    def in_body(self) -> bool:
        return self._draft is not None and self._draft.request is not None

    @property
    def body_size(self) -> int:
        """Bytes held of an unfinished body."""
        return len(self._draft.body) if self._draft else 0

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completed, in order. A Refused is the last event ever."""
        self._events = []
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            if self._over:
                break
            self._feed_slice(view[start : start + _SLICE])
        return self._events

    def _feed_slice(self, data: memoryview) -> None:
        if not self.in_body:
            self._pending += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # RFC 9110 §7.8: an Upgrade may be ignored; what follows is no HTTP, so this request is the last
            self._over = True
        except httptools.HttpParserError as error:
            self._end(self._refused or Refused(400, f"Bad request: {error}"))
        else:
            if not self.in_body and self._pending > self._limits.head_bytes + _SLICE:
                self._end(Refused(431, "Request header too large"))

    def _end(self, refused: Refused) -> None:
        self._over = True
        last = self._events[-1] if self._events else None
        # what follows a request that says Connection: close is nobody's business
        if not (isinstance(last, Arrived) and not last.keep_alive):
            self._events.append(refused)

    def _refuse(self, status: int, reason: str) -> None:
        self._refused = Refused(status, reason)
        raise ValueError(reason)  # ends the parser; feed reports self._refused

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        self._draft = _Draft()

    def on_url(self, url: bytes) -> None:
        if draft := self._draft:
            draft.target += url
            self._grow(draft, len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        draft = self._draft
        if draft is None or draft.request is not None:  # a trailer of a chunked body: counted, not kept
            if draft is not None:
                self._grow(draft, len(name) + len(value))
            return
        draft.fields += 1
        self._grow(draft, len(name) + len(value) + 4)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        if key in draft.headers:
            if key == "host":
                self._refuse(400, "Bad request: two Host fields")
            text = f"{draft.headers[key]}, {text}"
        draft.headers[key] = text

    def _grow(self, draft: _Draft, size: int) -> None:
        draft.size += size
        if draft.size > self._limits.head_bytes or draft.fields > self._limits.headers:
            self._refuse(431, "Request header too large")

    def on_headers_complete(self) -> None:
        draft = self._draft
        if draft is None:  # pragma: no cover - llhttp begins every message
            return
        self._pending = 0
        draft.request = self._make_request(draft)
        headers = draft.headers
        expectation = headers.get("expect", "").lower()
        if expectation not in ("", "100-continue"):
            self._refuse(417, "Unknown expectation")
        length = int(headers.get("content-length", "0"))
        if length > self._limits.body_bytes:
            self._refuse(413, "Body too large")
        if length or "transfer-encoding" in headers:
            self._events.append(Arriving(draft.request, wants_continue=bool(expectation)))

    def _make_request(self, draft: _Draft) -> Request:
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(505, "HTTP version not supported")
        if version == "1.0" and "transfer-encoding" in draft.headers:
            self._refuse(400, "Bad request: Transfer-Encoding in HTTP/1.0")  # RFC 9112 §6.1
        if version == "1.1" and "host" not in draft.headers:
            self._refuse(400, "Bad request: no Host field")  # RFC 9112 §3.2
        host, path, query = self._split_target(draft)
        return Request(
            method=self._parser.get_method().decode("ascii"),
            path=path,
            query=query,
            host=_bare_host(host),
            headers=draft.headers,
            body=b"",
            peer=self._peer,
            server_name=self._server_name,
            secure=self._secure,
        )

    def _split_target(self, draft: _Draft) -> tuple[str, str, str]:
        target = draft.target.decode("ascii", errors="replace")
        host = draft.headers.get("host", "")
        if not target.startswith("/") and "://" in target.partition("?")[0]:
            # RFC 9112 §3.2.2: a server must accept the absolute form, whose host wins over the Host field
            host, _, rest = target.partition("://")[2].partition("/")
            target = "/" + rest
        path, _, query = target.partition("?")
        return host, path, query

    def on_body(self, data: bytes) -> None:
        draft = self._draft
        if draft is None:  # pragma: no cover - llhttp begins every message
            return
        if len(draft.body) + len(data) > self._limits.body_bytes:
            self._refuse(413, "Body too large")
        draft.body += data

    def on_message_complete(self) -> None:
        draft = self._draft
        if draft is None or draft.request is None:  # pragma: no cover - as above
            return
        request, self._draft, self._pending = draft.request, None, 0
        if draft.body:
            request = replace(request, body=bytes(draft.body))
        keep_alive = bool(self._parser.should_keep_alive()) and not self._parser.should_upgrade()
        self._events.append(Arrived(request, keep_alive))


def _bare_host(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".").lower()
