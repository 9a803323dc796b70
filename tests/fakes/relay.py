"""A mail relay on loopback: a real SMTP server that keeps what it is given, and refuses on demand."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mailward.config import Relay


@dataclass(frozen=True, slots=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass
class FakeRelay:
    """`with FakeRelay() as relay:` listens on `relay.port`; `mails` is what it took."""

    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    password: str = ""
    refuse_recipient: str = ""
    """An address that gets `550`."""
    refusal: str = ""
    """What every recipient gets."""
    mended_after: int = 0
    """So many refusals more; 0: it stays as it is."""
    answer: str = ""
    """What it answers to every message instead of taking it."""
    pause: Callable[[], Awaitable[None]] | None = None
    """Awaited between taking a message and saying so."""
    mails: list[Mail] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def settings(self) -> Relay:
        return Relay(
            host="127.0.0.1", port=self.port, security="none", sender="Mailward <mailward@example.net>"
        )

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address == self.refuse_recipient:
            return "550 5.1.1 no such person"
        if refusal := self.refusal:
            self.mended_after -= 1
            if self.mended_after == 0:
                self.refusal = ""
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer:
            return self.answer
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.original_content))
        if self.pause is not None:
            await self.pause()
        return "250 taken"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> asyncio.Server:
        context = self.tls if self.implicit_tls else None
        return await self._loop.create_server(self._make_protocol, "127.0.0.1", 0, ssl=context)

    def _make_protocol(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            hostname="relay.test",
            loop=self._loop,
            tls_context=None if self.implicit_tls else self.tls,
            require_starttls=bool(self.tls) and not self.implicit_tls,
            authenticator=self._authenticate,
            # it warns of requiring a password without STARTTLS, and does not see that all is within TLS
            auth_required=bool(self.password) and not self.implicit_tls,
            auth_require_tls=bool(self.tls) and not self.implicit_tls,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:  # Any: aiosmtpd is untyped
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data.password == self.password.encode(), handled=False)

    async def _close(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks(self._loop) - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
