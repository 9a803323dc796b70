"""The mail relay: whether people hear of anything at all."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid, parseaddr

from mailward.core.doctor.catalogue import tell
from mailward.doctor.subject import Findings, Subject, good
from mailward.net import clock
from mailward.net.mailer import Deadlines, MailerError, RelaySession, check_relay

_DEADLINES = Deadlines(step=10.0, opening=20.0, message=40.0)


async def look_at_relay(subject: Subject) -> Findings:
    relay = subject.settings.relay
    if not relay.host:
        text = "no mail relay is set: nobody is told of anything by mail"
        fix = '[relay] host = "relay.example.org", sender = "mailward@example.org"'
        # for trying things nobody has to be told
        yield good(text) if subject.is_trial else tell("no-relay", text, fix)
        return
    where = f"{relay.host}:{relay.port}"
    try:
        await check_relay(relay, deadlines=_DEADLINES)
    except MailerError as error:
        yield tell("relay-fails", f"{where}: {error.detail}", _fix(subject, error.detail))
        return
    tls = {"starttls": ", STARTTLS with a trusted certificate", "tls": ", TLS with a trusted certificate"}
    signed_in = f", signed in as {relay.username}" if relay.username else ""
    yield good(f"{where} answers{tls.get(relay.security, ', in the clear')}{signed_in}")
    if subject.send_to:
        try:
            async with RelaySession(relay, deadlines=_DEADLINES) as session:
                await session.send(_letter(subject), [subject.send_to])
        except MailerError as error:
            text = f"{where} did not take a mail for {subject.send_to}: {error.detail}"
            yield tell(
                "mail-refused",
                text,
                "mend what the relay names: often relay.sender, or a missing permission to relay",
            )
        else:
            yield good(f"{where} took a mail for {subject.send_to}: {session.reply}; see that it arrives")


def _letter(subject: Subject) -> bytes:
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = subject.settings.relay.sender, subject.send_to
    letter["Subject"] = "Mailward: a mail of the doctor's"
    letter["Date"] = clock.now()
    letter["Message-ID"] = make_msgid(
        "doctor", parseaddr(subject.settings.relay.sender)[1].rpartition("@")[2]
    )
    letter.set_content(
        "This mail was sent by: mailward doctor --send\nThe relay takes mail from Mailward, and it arrives.\n"
    )
    return letter.as_bytes()


def _fix(subject: Subject, detail: str) -> str:
    if "certificate" in detail:
        return "[relay] host = the name in the relay's certificate, or trust its authority: update-ca-certificates"
    if "user name" in detail:
        return "[relay] username, and the password by MAILWARD_RELAY_PASSWORD_FILE"
    if "lacks" in detail:
        return '[relay] security = "tls" with port = 465, or "none" for a relay on this machine'
    return "see that the relay runs: [relay] host, port, security"
