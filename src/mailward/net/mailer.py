"""Mail to people through the operator's relay (RFC 5321 submission, RFC 3207 STARTTLS, RFC 4954 AUTH).

The threat is whoever sits between us and the relay: with `starttls`, the default, and `tls` nothing but a
certificate that this machine trusts for the relay's name is talked to, and a password goes through TLS or to
loopback alone.

    async with RelaySession(settings.relay) as session:
        await session.send(message, ["bob@example.net"])

Not done here: delivery to MX hosts, and signing. Both are the relay's.
"""

import asyncio
import contextlib
import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from types import TracebackType
from typing import Any, Self, TypeVar

from mailward.config import Relay

_MAX_DETAIL = 300
_ADDRESS = re.compile(r"[!-~]+@[!-~]+")
"""Enough that an address ends where it seems to: ASCII without blanks or line ends."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. RFC 5321 section 4.5.3.2 grants minutes a step; a relay of one's own answers sooner."""

    step: float = 30.0
    """Waiting for one answer."""
    opening: float = 60.0
    """Connecting, TLS and signing in together."""
    message: float = 120.0
    """One message, from MAIL to the answer after its last byte."""


class MailerError(Exception):
    """The relay did not take the mail. `temporary`: it may when asked again; else somebody must act first."""

    def __init__(self, detail: str, *, temporary: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.temporary = temporary


class AnswerMissing(MailerError):
    """The connection broke or nothing was said in time: what was being sent may have been taken."""


class MessageRefused(MailerError):
    """The relay works, but it does not take this message; another may pass."""


class RecipientRefused(MessageRefused):
    """It takes no mail for any of these recipients."""


class NoAddress(RecipientRefused):
    """A recipient is nothing that mail can be sent to, whatever the relay: it was not asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, temporary=False)


async def send_mail(
    relay: Relay, message: bytes, recipients: Sequence[str], *, deadlines: Deadlines = Deadlines()
) -> Mapping[str, str]:
    """Hand over one message. Returns the recipients that were refused while others were not, with the reason.

    Raises MailerError where the relay took it for nobody.
    """
    async with RelaySession(relay, deadlines=deadlines) as session:
        return await session.send(message, recipients)


async def check_relay(relay: Relay, *, deadlines: Deadlines = Deadlines()) -> None:
    """Connect, sign in, and leave. Raises MailerError."""
    async with RelaySession(relay, deadlines=deadlines):
        pass


class _Client(smtplib.SMTP):
    """Remembers what was said to a message that was taken, which `sendmail` forgets."""

    reply = ""

    def data(self, msg: Any) -> tuple[int, bytes]:  # noqa: ANN401 - smtplib's own
        code, text = super().data(msg)
        self.reply = _reply(code, text)
        return code, text


class _TlsClient(_Client, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


class RelaySession:
    """One connection, for several messages one after another. Entering and `send` raise MailerError."""

    def __init__(
        self, relay: Relay, *, is_opportunistic: bool = False, deadlines: Deadlines = Deadlines()
    ) -> None:
        """`is_opportunistic`: as mail goes to MX hosts of strangers, with TLS where it is offered, whatever the
        certificate, and whatever `relay.security` says.
        """
        self._relay = relay
        self._is_opportunistic = is_opportunistic
        self._deadlines = deadlines
        self._client: _Client | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._within(self._deadlines.opening, self._open)
        except BaseException:
            self._abort()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # the mail is handed over or it is not: how we part changes nothing
        with contextlib.suppress(MailerError):
            await self._within(self._deadlines.step, self._leave)
        self._abort()

    async def send(
        self, message: bytes, recipients: Sequence[str], *, sender: str | None = None
    ) -> Mapping[str, str]:
        """Hand over a message of CRLF lines. Returns the recipients that were refused, if not all were. `sender` of the
        envelope: another than the relay's settings name.
        """
        sender = parseaddr(self._relay.sender)[1] if sender is None else sender
        return await self._within(self._deadlines.message, lambda: self._send(sender, message, recipients))

    async def _within(self, seconds: float, step: Callable[[], _T]) -> _T:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.to_thread(_translated, step)
        except TimeoutError as error:
            # ends the thread too: it waits for this connection
            self._abort()
            raise AnswerMissing(f"no answer within {seconds:g} seconds", temporary=True) from error

    def _open(self) -> None:
        relay = self._relay
        if not relay.host:
            raise MailerError("no mail relay is configured", temporary=False)
        client = self._client = self._make_client()
        client.connect(relay.host, relay.port)
        client.ehlo_or_helo_if_needed()
        if self._is_opportunistic:
            if client.has_extn("starttls"):
                client.starttls(context=_any_certificate())
                client.ehlo_or_helo_if_needed()
        elif relay.security == "starttls":
            client.starttls(context=ssl.create_default_context())
            client.ehlo_or_helo_if_needed()
        if relay.username:
            if (self._is_opportunistic or relay.security == "none") and not _is_loopback(relay.host):
                raise MailerError(
                    f"relay.security is {relay.security}: the password would be sent in the clear",
                    temporary=False,
                )
            client.login(relay.username, relay.password)

    @property
    def reply(self) -> str:
        """What the relay said when it took the last message."""
        return self._client.reply if self._client is not None else ""

    def _make_client(self) -> _Client:
        name, timeout = own_name(), self._deadlines.step
        client: _Client
        if self._relay.security == "tls" and not self._is_opportunistic:
            context = ssl.create_default_context()
            client = _TlsClient(local_hostname=name, timeout=timeout, context=context)
        else:
            client = _Client(local_hostname=name, timeout=timeout)
        # smtplib checks the certificate against this name, which it keeps only when its constructor connects;
        # that would leave nothing to abort while it does
        client._host = self._relay.host  # type: ignore[attr-defined]  # private to smtplib
        return client

    def _send(self, sender: str, message: bytes, recipients: Sequence[str]) -> Mapping[str, str]:
        if self._client is None:
            raise MailerError("not connected", temporary=True)
        for recipient in recipients:
            # smtplib would cut it short and go on with what is left
            if not _ADDRESS.fullmatch(recipient):
                raise NoAddress(f"{_clean(recipient)!r} is no mail address")
        refused = self._client.sendmail(sender, list(recipients), message)
        return {recipient: _reply(*answer) for recipient, answer in refused.items()}

    def _leave(self) -> None:
        if self._client is not None and self._client.sock is not None:
            self._client.quit()

    def _abort(self) -> None:
        client = self._client
        if client is not None and client.sock is not None:
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
            client.close()


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _translated(step: Callable[[], _T]) -> _T:
    """What `step` returns; whatever smtplib and sockets raise becomes a MailerError."""
    try:
        return step()
    except smtplib.SMTPRecipientsRefused as error:
        recipient, (code, text) = next(iter(error.recipients.items()))
        raise RecipientRefused(f"{recipient}: {_reply(code, text)}", temporary=code < 500) from error
    except smtplib.SMTPDataError as error:
        raise MessageRefused(
            f"the relay answered {_reply(error.smtp_code, error.smtp_error)}", temporary=error.smtp_code < 500
        ) from error
    except smtplib.SMTPAuthenticationError as error:
        detail = f"the relay refused the user name or password: {_reply(error.smtp_code, error.smtp_error)}"
        raise MailerError(detail, temporary=error.smtp_code < 500) from error
    except smtplib.SMTPResponseException as error:
        temporary = error.smtp_code < 500
        raise MailerError(
            f"the relay answered {_reply(error.smtp_code, error.smtp_error)}", temporary=temporary
        ) from error
    except ssl.SSLCertVerificationError as error:
        detail = f"the relay's certificate is not trusted: {error.verify_message}"
        raise MailerError(_clean(detail), temporary=False) from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailerError(_clean(f"the relay lacks what is asked of it: {error}"), temporary=False) from error
    except (OSError, smtplib.SMTPException, UnicodeError, ValueError) as error:
        # ValueError: what a command cannot hold, such as a line end in an address
        words = (error.strerror if isinstance(error, OSError) else "") or str(error)
        reason = f"the relay cannot be used: {_clean(words) or type(error).__name__}"
        if isinstance(error, OSError | smtplib.SMTPServerDisconnected):
            raise AnswerMissing(reason, temporary=True) from error
        raise MailerError(reason, temporary=False) from error


def _reply(code: int, text: bytes | str) -> str:
    return _clean(f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}")


def _clean(text: str) -> str:
    """One printable line: what the other side says is shown to people."""
    return "".join(each if each.isprintable() else " " for each in text)[:_MAX_DETAIL].strip()


def own_name() -> str:
    """What we call ourselves in EHLO."""
    # RFC 5321 section 4.1.4: an address literal where we have no name. getfqdn() may wait for DNS
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
