"""One report to one rua, once: by the local mail server, or by HTTPS POST (RFC 8460 sections 5.3 and 5.4)."""

import contextlib
import ssl
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from mailward.config import Relay, Tlsrpt
from mailward.net.guard import Guard
from mailward.net.mailer import AnswerMissing, MailerError, MessageRefused, RelaySession
from mailward.net.resolver import Resolver
from mailward.net.webpost import PostError, post
from mailward.sender.letters import REPEAT_FIELD, REPEAT_TEXT
from mailward.sender.postconf import PostfixError, ProgramFailed, run_program
from mailward.sender.reportrows import Delivery

MEDIA_TYPE = "application/tlsrpt+gzip"
# sysexits.h: EX_DATAERR and EX_NOUSER: the message or its recipient is at fault, not the moment
_FINAL_STATUS = (65, 67)
# EX_USAGE, EX_NOHOST (which may be our own DNS), EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG: nothing that the recipient said
_OUR_STATUS = (64, 68, 69, 77, 78)
# of these, msmtp and classic sendmail say them of a recipient as well
_UNCLEAR_STATUS = (68, 69)
# RFC 9110 §15.5, RFC 6585 §4: these say that it may be otherwise later
_PATIENT_STATUS = (408, 421, 423, 425, 429)


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    NOT_TRIED = "not-tried"
    """Our own mail server did not work: this says nothing about the rua."""


class Outcome(NamedTuple):
    verdict: Verdict
    text: str
    retry_after: int = 0
    """Seconds that the other side asks for."""
    maybe_taken: bool = False
    """All was sent and no answer came."""
    is_unclear: bool = False
    """With NOT_TRIED: it may be the recipient's fault all the same."""


class MailPost(Protocol):
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def send(self, sender: str, recipient: str, message: bytes) -> Outcome: ...


class SendmailPost:
    """The local mail server's own command."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def send(self, sender: str, recipient: str, message: bytes) -> Outcome:
        # the command takes lines as Unix has them
        text = message.replace(b"\r\n", b"\n")
        try:
            await run_program(*self._command, "-f", sender, "--", recipient, stdin=text)
        except ProgramFailed as error:
            is_unclear = error.status in _UNCLEAR_STATUS
            return Outcome(_verdict_of(error.status), str(error), is_unclear=is_unclear)
        except PostfixError as error:
            return Outcome(Verdict.NOT_TRIED, str(error))
        return Outcome(Verdict.ACCEPTED, "taken by the local mail server")


def _verdict_of(status: int) -> Verdict:
    if status in _FINAL_STATUS:
        return Verdict.PERMANENT
    return Verdict.NOT_TRIED if status in _OUR_STATUS else Verdict.TEMPORARY


class SmtpPost:
    """A mail server of the operator's, one connection for many messages."""

    def __init__(self, settings: Tlsrpt) -> None:
        self._relay = Relay(host=settings.smtp_host, port=settings.smtp_port, security=settings.smtp_security)
        self._session: RelaySession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def send(self, sender: str, recipient: str, message: bytes) -> Outcome:
        if self._session is None:
            session = RelaySession(self._relay)
            try:
                self._session = await session.__aenter__()
            except MailerError as error:
                return Outcome(Verdict.NOT_TRIED, error.detail)
        try:
            await self._session.send(message, [recipient], sender=sender)
        except MessageRefused as error:
            return Outcome(Verdict.TEMPORARY if error.temporary else Verdict.PERMANENT, error.detail)
        except AnswerMissing as error:
            await self._close()
            return Outcome(Verdict.TEMPORARY, error.detail, maybe_taken=True)
        except MailerError as error:  # such as a refused envelope sender: nothing that the recipient said
            await self._close()
            return Outcome(Verdict.NOT_TRIED, error.detail)
        return Outcome(Verdict.ACCEPTED, f"taken by {self._relay.host}")

    async def _close(self) -> None:
        if self._session is not None:
            with contextlib.suppress(MailerError):
                await self._session.__aexit__(None, None, None)
            self._session = None


def make_mail_post(settings: Tlsrpt) -> MailPost:
    return SmtpPost(settings) if settings.smtp_host else SendmailPost(settings.sendmail_command)


async def post_report(
    delivery: Delivery, gzipped: bytes, *, resolver: Resolver, guard: Guard, context: ssl.SSLContext | None
) -> Outcome:
    headers = {REPEAT_FIELD: REPEAT_TEXT} if delivery.is_repeat else {}
    try:
        reply = await post(
            delivery.rua,
            gzipped,
            MEDIA_TYPE,
            resolver=resolver,
            guard=guard,
            headers=headers,
            context=context,
        )
    except PostError as error:
        verdict = Verdict.PERMANENT if error.is_final else Verdict.TEMPORARY
        return Outcome(verdict, str(error), maybe_taken=error.was_sent)
    text = f"it answered {reply.status}"
    if reply.is_success:
        return Outcome(Verdict.ACCEPTED, text)
    if reply.status >= 500 or reply.status in _PATIENT_STATUS:
        return Outcome(Verdict.TEMPORARY, text, reply.retry_after)
    if 300 <= reply.status < 400:
        text += ": reports do not follow redirects"
    return Outcome(Verdict.PERMANENT, text)


def make_context(ca_file: str, *, any_certificate: bool) -> ssl.SSLContext:
    """Raises OSError where the file of authorities cannot be used."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if any_certificate:  # RFC 8460 §3: MAY ignore certificate validation errors
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
