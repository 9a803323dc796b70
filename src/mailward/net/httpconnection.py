"""One connection of the bounded HTTP server: deadlines, order of answers, back-pressure.

A connection is always waiting for exactly one thing (`Wait`), and each has a deadline. Requests are answered
one at a time in the order they came; while one is worked on, or an answer is not read, no more is taken in.
"""

import asyncio
import enum
import inspect
import logging
import ssl
from collections.abc import Awaitable

from mailward.core.proxyprotocol import ProxyHeaderInvalid, read_proxy_header
from mailward.net import clock
from mailward.net.httpmessage import Finished, Request, Response, refusal, serialise_response
from mailward.net.httpreader import Arrived, Arriving, Event, Refused, RequestReader
from mailward.net.httpservice import Service, address_block
from mailward.net.tlsfaults import LOST, TIMEOUT, name_fault
from mailward.net.tlspipe import TlsPipe, guess_server_name, holds_record

_log = logging.getLogger("mailward.http")


STALLED_SECONDS = 2.0


class Wait(enum.Enum):
    HANDSHAKE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    HANDLER = enum.auto()
    IDLE = enum.auto()
    WRITE = enum.auto()
    LINGER = enum.auto()
    CLOSED = enum.auto()


# looked up ten times a connection: what an Enum's class gives costs ten times as much as a global
_HANDSHAKE, _HEAD, _IDLE, _LINGER, _CLOSED = Wait.HANDSHAKE, Wait.HEAD, Wait.IDLE, Wait.LINGER, Wait.CLOSED


class HttpConnection(asyncio.Protocol):
    __slots__ = (
        "__weakref__", "_deadline", "_early", "_held", "_limits", "_loop", "_peer_done", "_proxy_header", "_queue",
        "_reader", "_requests", "_service", "_task", "_timer", "_tls", "_transport", "_wait", "_waiting_since",
        "_working", "_write_blocked", "block", "peer",
    )  # fmt: skip

    def __init__(self, service: Service) -> None:
        self._service, self._limits = service, service.limits
        self._loop = asyncio.get_running_loop()
        self._tls: TlsPipe | None = None
        self._early = b""
        """What there is of the client's hello: OpenSSL, which takes 40 KiB a connection, is given it whole."""
        self._queue: list[Event] = []
        self._reader: RequestReader | None = None
        self._wait = Wait.HANDSHAKE
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0
        self._held = 0
        self._requests = 0
        self._working: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._write_blocked = self._peer_done = False
        self._proxy_header: bytes | None = None
        """What there is of the PROXY header that has to come first; None: none has to, or it has come."""
        self.peer = self.block = ""

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # typed as its base; TCP gives this one
        peername = transport.get_extra_info("peername")
        self.peer = str(peername[0]) if peername else ""
        service = self._service
        if service.is_proxy and service.is_proxy(self.peer):
            self._proxy_header = b""
        else:
            self.block = address_block(self.peer, count_loopback=self._limits.count_loopback)
        is_welcome = service.may_connect is None or service.may_connect(self.peer)
        if not is_welcome or not service.enter(self):
            self._wait = _CLOSED
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        if self._service.tls or self._proxy_header is not None:
            self._expect(_HANDSHAKE, self._limits.handshake_seconds)
        else:
            self._expect(Wait.HEAD, self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._wait is _CLOSED or self._wait is _LINGER:
            return
        if self._proxy_header is not None:
            data = self._read_proxy_header(self._proxy_header + data)
            if not data:
                return
        if self._service.tls is None:
            self._take(data)
            return
        if self._tls is None:
            data = self._early + data
            if not holds_record(data):
                self._early = data
                return
            self._early, self._tls = b"", self._begin_tls(self._service.tls, data)
        try:
            plain = self._tls.receive(data)
        except ssl.SSLError as error:
            if not self._tls.ready:
                self._service.counts.handshake_failures[name_fault(error)] += 1
            _log.debug("tls-failed", extra={"peer": self.peer, "reason": error.reason or str(error)})
            self._flush()
            self._close()
            return
        self._flush()
        self._peer_done = self._peer_done or self._tls.ended
        if self._tls.ready:
            if self._wait is _HANDSHAKE:
                self._service.counts.handshakes += 1
                self._expect(_HEAD, self._limits.head_seconds)
            self._take(plain)

    def _begin_tls(self, context: ssl.SSLContext, hello: bytes) -> TlsPipe:
        choose = self._service.context_for
        name = guess_server_name(hello) if choose is not None else None
        chosen = choose(name) if choose is not None and name else None
        return TlsPipe(context) if chosen is None else TlsPipe(chosen, chosen_for=name)

    def _read_proxy_header(self, data: bytes) -> bytes:
        """What follows the header; empty where it is not complete, or the connection has ended."""
        try:
            header = read_proxy_header(data)
        except ProxyHeaderInvalid as error:
            _log.warning("proxy-header-invalid", extra={"peer": self.peer, "reason": error})
            self.abort()
            return b""
        if header is None:
            self._proxy_header = data
            return b""
        self._proxy_header = None
        if header.source is not None:
            self.peer = header.source
            block = address_block(self.peer, count_loopback=self._limits.count_loopback)
            if not self._service.rename(self, block):
                self._wait = Wait.CLOSED
                self._transport.abort()
                return b""
        if self._service.tls is None:
            self._expect(Wait.HEAD, self._limits.head_seconds)
        return data[header.size :]

    def eof_received(self) -> bool:
        """The peer sends no more; a request in work is still answered (True keeps the transport)."""
        self._peer_done = True
        return self._working is not None

    def pause_writing(self) -> None:
        self._write_blocked = True
        if self._wait is not Wait.HANDLER and not self._closing:
            self._transport.pause_reading()
            self._expect(Wait.WRITE, self._limits.write_seconds)

    def resume_writing(self) -> None:
        self._write_blocked = False
        if self._wait is Wait.WRITE:
            self._advance()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._wait is _HANDSHAKE and self._service.tls is not None:
            self._service.counts.handshake_failures[LOST] += 1
        self._wait = _CLOSED
        self._queue.clear()
        self._reader = None
        if self._timer:
            self._timer.cancel()
        # a request in work still costs what it costs: the connection counts until it is done
        if self._working is None:
            if self._held:
                self._hold(0)
            self._service.leave(self)

    # Requests in, answers out

    def _take(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            if not data and not self._peer_done:
                return
            if data and self._take_shortcut(data):
                return
            name = self._tls.server_name if self._tls else None
            reader = self._reader = RequestReader(
                self._limits, peer=self.peer, server_name=name, secure=self._tls is not None
            )
        if data:
            self._queue += reader.feed(data)
            self._account()
        if self._service.body_bytes > self._limits.all_bodies_bytes and reader.in_body:
            self._queue.append(Refused(503, "Too many requests at once"))
        if len(self._queue) > self._limits.pipelined:
            # unanswered requests are the peer's to repeat
            self._queue = [*self._queue[: self._limits.pipelined], Refused(503, "Too many requests at once")]
        self._advance()

    def _take_shortcut(self, data: bytes) -> bool:
        """Answer at once where the service has an answer ready: most connections are one such request."""
        if self._service.shortcut is None or self._write_blocked:
            return False
        answer = self._service.shortcut(data, self.peer, self._tls.server_name if self._tls else None)
        if answer is None:
            return False
        self._requests += 1
        self._service.counts.shortcuts += 1
        self._deadline = 0.0
        if answer.close or self._service.closing or self._requests >= self._limits.requests_a_connection:
            # all was read that was sent: no linger, a reset destroys nothing
            self._write(answer.data, end=True)
            self._expect(_CLOSED, self._limits.write_seconds)
            self._transport.close()
        else:
            self._write(answer.data)
            self._await_more()
        return True

    def _advance(self) -> None:
        """Work on the queue for as long as nothing has to be waited for, then wait for the right thing."""
        while self._queue and self._working is None and not self._write_blocked and not self._closing:
            match self._queue.pop(0):
                case Arriving(request, wants_continue):
                    self._meet(request, wants_continue=wants_continue)
                case Arrived(request, keep_alive):
                    self._work(request, keep_alive=keep_alive)
                case Refused(status, reason):
                    self._answer(None, refusal(status, reason), clock.monotonic(), keep_alive=False)
        if not self._closing:
            self._await_more()

    @property
    def _closing(self) -> bool:
        return self._wait in (Wait.LINGER, Wait.CLOSED)

    def _await_more(self) -> None:
        reader = self._reader
        if self._working is not None:
            self._transport.pause_reading()
            self._expect(Wait.HANDLER, None)  # the task has its own deadline
        elif self._write_blocked:
            self._expect(Wait.WRITE, self._limits.write_seconds)
        elif self._peer_done:
            self._close()
        else:
            self._transport.resume_reading()
            if reader and reader.in_body:
                self._expect(Wait.BODY, self._limits.body_seconds)
            elif (reader and reader.in_head) or not self._requests:
                self._expect(Wait.HEAD, self._limits.head_seconds)
            elif self._service.closing:
                self._close()
            else:
                self._expect(Wait.IDLE, self._limits.idle_seconds)

    def _meet(self, request: Request, *, wants_continue: bool) -> None:
        """The head of a request is here, its body may not be."""
        response = self._service.admit(request) if self._service.admit else None
        if response is not None:
            self._answer(request, response, clock.monotonic(), keep_alive=False)
        elif wants_continue and not self._queue:  # a client that did not wait needs no invitation
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _work(self, request: Request, *, keep_alive: bool) -> None:
        started = clock.monotonic()
        try:
            result = self._service.handler(request)
        except Exception:  # noqa: BLE001 - the top of a request: one bad request must not end the server
            self._answer(request, self._failed(request), started, keep_alive=keep_alive)
            return
        if inspect.isawaitable(result):
            self._working = request
            self._task = self._loop.create_task(self._finish(request, result, started, keep_alive))
        else:
            self._answer(request, result, started, keep_alive=keep_alive)

    async def _finish(
        self, request: Request, awaitable: Awaitable[Response], started: float, keep_alive: bool
    ) -> None:
        try:
            async with asyncio.timeout(self._limits.handler_seconds):
                response = await awaitable
        except TimeoutError:
            _log.warning("handler-too-slow", extra={"seconds": self._limits.handler_seconds})
            response = refusal(503)
        except Exception:  # noqa: BLE001 - as in _work
            response = self._failed(request)
        finally:
            self._working = self._task = None
            if self._wait is Wait.CLOSED:
                self._hold(0)
                self._service.leave(self)
        if self._closing:
            return
        self._answer(request, response, started, keep_alive=keep_alive)
        self._account()
        self._advance()

    def _failed(self, request: Request) -> Response:
        _log.exception("handler-failed", extra={"method": request.method, "host": request.host})
        return refusal(500)

    def _answer(
        self, request: Request | None, response: Response, started: float, *, keep_alive: bool
    ) -> None:
        self._requests += 1
        self._deadline = 0.0
        close = not keep_alive or response.close or self._service.closing
        close = close or self._requests >= self._limits.requests_a_connection
        head_only = request is not None and request.method == "HEAD"
        timestamp = clock.now().timestamp()
        try:
            data = serialise_response(response, head_only=head_only, close=close, timestamp=timestamp)
        except ValueError:
            _log.exception("response-invalid")
            response = refusal(500)
            data = serialise_response(response, head_only=head_only, close=close, timestamp=timestamp)
        self._write(data)
        seconds = clock.monotonic() - started
        counts = self._service.counts
        counts.statuses[response.status] += 1
        counts.seconds.observe(seconds)
        if self._service.on_finished:
            self._service.on_finished(
                Finished(request, self.peer, response.status, len(response.body), seconds)
            )
        if close:
            self._close(linger=not self._peer_done)

    def _write(self, data: bytes, *, end: bool = False) -> None:
        """With `end`, say in the same packet that it was the last."""
        if self._tls:
            self._tls.send(data)
            if end:
                self._tls.end()
            self._flush()
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._tls and (data := self._tls.outgoing()):
            self._transport.write(data)

    def _account(self) -> None:
        """Bring the bytes of bodies that this connection holds up to date."""
        held = self._reader.body_size if self._reader else 0
        held += sum(len(event.request.body) for event in self._queue if isinstance(event, Arrived))
        self._hold(held + (len(self._working.body) if self._working else 0))

    def _hold(self, size: int) -> None:
        self._service.body_bytes += size - self._held
        self._held = size

    # Waiting and ending

    def _expect(self, wait: Wait, seconds: float | None) -> None:
        if wait is _IDLE:
            self._service.idle[self] = None
        elif self._wait is _IDLE:
            self._service.idle.pop(self, None)
        now = self._loop.time()
        if wait is self._wait and self._deadline:
            return  # a deadline runs from the start of what is waited for, not from its last byte
        self._wait, self._waiting_since = wait, now
        self._deadline = now + seconds if seconds is not None else 0.0
        if self._deadline and (self._timer is None or self._timer.when() > self._deadline):
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._deadline:
            return
        if (
            self._loop.time() < self._deadline
        ):  # moved on since: one timer serves all deadlines of a connection
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
            return
        match self._wait:
            case Wait.HEAD if self._reader and self._reader.in_head:
                self._answer(None, refusal(408), self._waiting_since, keep_alive=False)
            case Wait.BODY:
                self._judge_body_rate()
            case Wait.HANDSHAKE | Wait.WRITE | Wait.CLOSED:
                if self._wait is Wait.HANDSHAKE and self._service.tls is not None:
                    self._service.counts.handshake_failures[TIMEOUT] += 1
                    self._wait = Wait.CLOSED
                self.abort()
            case _:
                self._close()

    def _judge_body_rate(self) -> None:
        elapsed = self._loop.time() - self._waiting_since
        if self._reader and self._reader.body_size >= elapsed * self._limits.body_bytes_per_second:
            self._deadline = self._loop.time() + self._limits.body_seconds
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        else:
            self._answer(None, refusal(408), self._waiting_since, keep_alive=False)

    def _close(self, *, linger: bool = False) -> None:
        """Send what is written, then end. With `linger`, go on reading for a moment (see HttpLimits)."""
        self._queue.clear()
        if self._tls and self._tls.ready and not self._closing:
            self._tls.end()
            self._flush()
        if linger and self._transport.can_write_eof() and not self._transport.is_closing():
            self._expect(Wait.LINGER, self._limits.linger_seconds)
            self._transport.write_eof()
            self._transport.resume_reading()
            return
        self._expect(Wait.CLOSED, self._limits.write_seconds)
        self._transport.close()

    @property
    def stalled(self) -> bool:
        """Whether the peer has kept us waiting for its handshake or header longer than honest ones do."""
        waits = self._wait in (Wait.HANDSHAKE, Wait.HEAD)
        return waits and self._loop.time() - self._waiting_since >= STALLED_SECONDS

    def close_when_idle(self) -> None:
        """For a server that ends: nothing new is begun, but whoever has just come is still answered once."""
        is_new = self._wait is Wait.HANDSHAKE or (self._wait is Wait.HEAD and not self._requests)
        is_between = self._wait is Wait.HEAD and not self._in_head
        if self._wait is Wait.IDLE or (self.stalled if is_new else is_between):
            self._close()

    @property
    def _in_head(self) -> bool:
        return self._reader is not None and self._reader.in_head

    def abort(self) -> None:
        self._service.idle.pop(self, None)
        if self._task:
            self._task.cancel()
        self._transport.abort()
