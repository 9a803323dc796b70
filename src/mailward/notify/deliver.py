"""Mails go out, and the relay's state follows from how that went."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email.utils import parseaddr

from mailward.config import Settings
from mailward.core.addresses import parse_address
from mailward.net import clock, tracing
from mailward.net.mailer import (
    MailerError,
    MessageRefused,
    NoAddress,
    RecipientRefused,
    RelaySession,
    check_relay,
    send_mail,
)
from mailward.notify.mails import (
    InvitationLetter,
    build_invitation_mail,
    build_notice,
    build_password_mail,
    build_problem_mail,
    build_test_mail,
    sender_domain,
)
from mailward.store.aio import in_store
from mailward.store.models import Notice
from mailward.store.services import notices, notifications
from mailward.store.services.notifications import Letter

_log = logging.getLogger(__name__)


async def queue(settings: Settings, problem_ids: Sequence[int]) -> None:
    """Give a mail to everybody who has not been told of these problems. They go out by `deliver`."""
    count = await in_store(notifications.queue, problem_ids, sender_domain(settings.relay.sender))
    if count:
        _log.info("mails-queued", extra={"problems": len(problem_ids), "mails": count})


async def deliver(settings: Settings, message_ids: Sequence[str]) -> Mapping[str, MailerError]:
    """Send these mails as they read now, over one connection. Returns those that failed, with the reason.

    A mail is marked as sent once the relay has accepted it; dying in between repeats it under its Message-ID.
    """
    letters = [await in_store(notifications.letter, message_id) for message_id in message_ids]
    waiting = {letter.message_id: letter for letter in letters if letter is not None}
    failed: dict[str, MailerError] = {}
    if not waiting:
        return failed
    try:
        _check_sender(settings)
        async with RelaySession(settings.relay) as session:
            for message_id, letter in list(waiting.items()):
                try:
                    await _send(settings, session, letter)
                except MessageRefused as error:
                    failed[message_id] = error
                del waiting[message_id]
    except MailerError as error:
        failed |= dict.fromkeys(waiting, error)
    await _note_failures(letters, failed)
    await _judge_relay(failed, sent=len(failed) < sum(letter is not None for letter in letters))
    return failed


async def deliver_notices(settings: Settings, message_ids: Sequence[str]) -> Mapping[str, MailerError]:
    """Send these notices. Returns those that failed, with the reason."""
    found = [await in_store(notices.unsent, message_id) for message_id in message_ids]
    waiting = [notice for notice in found if notice is not None]
    failed: dict[str, MailerError] = {}
    for notice in waiting:
        try:
            _check_sender(settings)
            async with RelaySession(settings.relay) as session:
                to = parse_address(notice.recipient)
                await session.send(await in_store(_notice_mail, settings, notice, to), [to])
        except ValueError as error:
            failed[notice.message_id] = NoAddress(str(error))
        except MailerError as error:
            failed[notice.message_id] = error
        if failure := failed.get(notice.message_id):
            await in_store(notices.mark_failed, notice, failure.detail)
            _log.warning("notice-not-sent", extra={"message_id": notice.message_id, "detail": failure.detail})
        else:
            await in_store(notices.mark_sent, notice)
            _log.info("notice-sent", extra={"message_id": notice.message_id})
    if waiting:
        await _judge_relay(failed, sent=len(failed) < len(waiting))
    return failed


def _notice_mail(settings: Settings, notice: Notice, to: str) -> bytes:
    sender, path = settings.relay.sender, notice.page
    if not path and notice.domain is not None:
        path = f"/domains/{notice.domain.name}/mx/"
    return build_notice(
        to,
        subject=notice.subject,
        lines=notice.lines,
        page=f"{settings.console_url}{path}",
        sender=sender,
        message_id=f"<{notice.message_id}@{sender_domain(sender)}>",
        date=notice.queued_at,
    )


async def send_test(settings: Settings, recipient: str) -> None:
    """Send the test mail now. Raises MailerError, whose detail is for the person who asked."""

    def build(to: str, message_id: str) -> bytes:
        relay, url = settings.relay, settings.console_url
        return build_test_mail(
            to, sender=relay.sender, console_url=url, message_id=message_id, date=clock.now()
        )

    await _send_now(settings, recipient, "test", build)


async def send_invitation(settings: Settings, letter: InvitationLetter) -> None:
    """Send it now, since only its hash is kept and no later attempt could. Raises MailerError."""

    def build(to: str, message_id: str) -> bytes:
        addressed = replace(letter, recipient=to)
        sender = settings.relay.sender
        return build_invitation_mail(addressed, sender=sender, message_id=message_id, date=clock.now())

    await _send_now(settings, letter.recipient, "invitation", build)


async def send_password_link(settings: Settings, recipient: str, link: str, *, days: int) -> None:
    """Send the link for a forgotten password now. Raises MailerError."""

    def build(to: str, message_id: str) -> bytes:
        sender = settings.relay.sender
        return build_password_mail(
            to, link=link, days=days, sender=sender, message_id=message_id, date=clock.now()
        )

    await _send_now(settings, recipient, "password", build)


async def _send_now(
    settings: Settings, recipient: str, kind: str, build: Callable[[str, str], bytes]
) -> None:
    """`build` gets address and Message-ID. Raises MailerError, whose detail is for the person who asked."""
    try:
        to = parse_address(recipient)
    except ValueError as error:
        raise NoAddress(str(error)) from error
    _check_sender(settings)
    relay = settings.relay
    message_id = f"<{kind}.{secrets.token_hex(16)}@{sender_domain(relay.sender)}>"
    try:
        await send_mail(relay, build(to, message_id), [to])
    except MailerError as error:
        # an address that somebody mistyped says nothing about the relay; one's own, for a test, does
        if kind == "test" or not isinstance(error, RecipientRefused):
            await _judge_relay({to: error}, sent=False)
        raise
    await _judge_relay({}, sent=True)
    _log.info("mail-sent", extra={"message_id": message_id})


async def check(settings: Settings) -> None:
    """See whether the relay would take mail, without sending any."""
    try:
        await check_relay(settings.relay)
    except MailerError as error:
        await _judge_relay({"": error}, sent=False)
    else:
        await in_store(notifications.set_relay_state, ok=True)


def _check_sender(settings: Settings) -> None:
    try:
        parse_address(parseaddr(settings.relay.sender)[1])
    except ValueError as error:
        raise MailerError(f"relay.sender: {error}", temporary=False) from error


async def _send(settings: Settings, session: RelaySession, letter: Letter) -> None:
    try:
        to = parse_address(letter.recipient)
    except ValueError as error:
        raise NoAddress(str(error)) from error
    message = build_problem_mail(letter, sender=settings.relay.sender, console_url=settings.console_url)
    with tracing.span("mail.send"):
        await session.send(message, [to])
    await in_store(notifications.mark_sent, letter)
    _log.info(
        "mail-sent",
        extra={
            "message_id": letter.message_id,
            "domains": letter.domain_count,
            "problem": letter.problem_ids[0],
        },
    )


async def _note_failures(letters: Sequence[Letter | None], failed: Mapping[str, MailerError]) -> None:
    for letter in letters:
        if letter is not None and (error := failed.get(letter.message_id)):
            await in_store(notifications.mark_failed, letter, error.detail)
            _log.warning(
                "mail-not-sent",
                extra={"message_id": letter.message_id, "temporary": error.temporary, "detail": error.detail},
            )


async def _judge_relay(failed: Mapping[str, MailerError], *, sent: bool) -> None:
    """A relay that took something works; one that refused all it was given may be set up wrongly."""
    if sent:
        await in_store(notifications.note_taken)
    elif failed:
        # the connection's own failure says more than one recipient's
        errors = sorted(failed.values(), key=lambda error: isinstance(error, MessageRefused))
        await in_store(notifications.set_relay_state, ok=False, detail=errors[0].detail)
