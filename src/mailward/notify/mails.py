"""The mails, as bytes: what is known of a problem in, RFC 5322 out."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from mailward.core.addresses import parse_address
from mailward.core.explain.catalogue import Explanation
from mailward.core.explain.hosting import HOSTING
from mailward.core.explain.problem import explain_problem
from mailward.core.explain.rollout import JUMPED
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS
from mailward.store.services.notifications import Letter

_MAX_KINDS = 10
_NAMES = ("sts-", "policy-", "tlsrpt-", "mx-lookup", "mx-nowhere", "dane-mx", "hosted-")
"""How codes of findings begin that are about a name, not about an MX host."""
_MAX_SHOWN = 120
"""Characters of one string of a stranger's: host names may have 253, and nobody reads those."""
_MAX_EVIDENCE = 300
_WIDTH = 76
_KEPT_BLANK = "\x1f"
_PLAIN = re.compile(r"[^A-Za-z0-9.:_@*-]")


def build_problem_mail(letter: Letter, *, sender: str, console_url: str) -> bytes:
    """The one mail that tells a person of a problem, or of many that came on one day."""
    subject, told = _many_kinds(letter) if len(letter.result_types) > 1 else _one_kind(letter)
    body = [
        *told,
        "",
        f"Domains concerned: {letter.domain_count:,}",
        *_listed(letter.domains, letter.domain_count),
        *_hosts(letter),
        *_link(letter, console_url),
        "",
        *_wrapped(_why_you(letter)),
    ]
    return _build(
        sender=sender,
        recipient=letter.recipient,
        subject=f"Mailward: {subject} ({_count(letter.domain_count, 'domain')})",
        body=body,
        message_id=letter.message_id,
        date=letter.queued_at,
    )


def _one_kind(letter: Letter) -> tuple[str, list[str]]:
    """The subject, and what the mail says of the problem."""
    explanation = _explain(letter)
    return _as_clause(explanation.title) + _place(letter), [
        *_wrapped(f"{explanation.title}{_place(letter)}. {_what_was_seen(letter)}"),
        *_evidence(letter),
        "",
        "What it means",
        *_wrapped(explanation.meaning),
        *_section(explanation),
        "",
        "What to do",
        *_numbered(explanation.steps),
        *(["", "Could it be an attack?", *_wrapped(explanation.attack)] if explanation.attack else []),
    ]


def _many_kinds(letter: Letter) -> tuple[str, list[str]]:
    """As _one_kind, for a person who has had several mails today."""
    number = _count(len(letter.problem_ids), "more problem")
    shown = letter.result_types[:_MAX_KINDS]
    rest = len(letter.result_types) - len(shown)
    return number, [
        *_wrapped(f"{number} since the last mail. {_what_was_seen(letter)}"),
        "",
        *_wrapped(_so_many(letter)),
        "",
        "What is wrong",
        *(f"  {explain_problem(each).title} ({_foreign(each) or 'no result type'})" for each in shown),
        *([f"  and {rest:,} more"] if rest else []),
    ]


def _so_many(letter: Letter) -> str:
    text = "So many at once are rare. Either something that they share is broken, or "
    if letter.checked and not letter.sessions:
        return text + "much was changed at once: see what was seen before you change more."
    return text + "somebody sends reports that are made up: see who reports them before you change anything."


def build_test_mail(
    recipient: str, *, sender: str, console_url: str, message_id: str, date: datetime
) -> bytes:
    """What the button sends."""
    body = [
        "This is a test: the mail relay works, and mail from Mailward reaches you.",
        "",
        *_wrapped("Somebody asked for it on the console:"),
        console_url,
    ]
    return _build(
        sender=sender,
        recipient=recipient,
        subject="Mailward: test mail",
        body=body,
        message_id=message_id,
        date=date,
    )


@dataclass(frozen=True, slots=True)
class InvitationLetter:
    """What the mail with an invitation says. The link is a secret: it stands in the mail and nowhere else."""

    recipient: str
    organisation: str
    role: str
    inviter: str
    link: str
    days: int


def build_invitation_mail(letter: InvitationLetter, *, sender: str, message_id: str, date: datetime) -> bytes:
    """The link that lets an invited person in."""
    whose = _one_line(letter.organisation)
    body = [
        *_wrapped(f"{_one_line(letter.inviter)} invites you to {whose} on Mailward, as {letter.role}."),
        "",
        *_wrapped("Mailward looks after the encryption of mail between servers. Come in here:"),
        "",
        letter.link,
        "",
        *_wrapped(f"The link works once, for {_count(letter.days, 'day')}. It is for you alone."),
        "",
        *_wrapped("If you did not expect this, there is nothing to do: without the link nothing happens."),
    ]
    return _build(
        sender=sender,
        recipient=letter.recipient,
        subject=f"Mailward: an invitation to {whose}",
        body=body,
        message_id=message_id,
        date=date,
    )


def build_password_mail(
    recipient: str, *, link: str, days: int, sender: str, message_id: str, date: datetime
) -> bytes:
    """The link for a forgotten password. The link is a secret: it stands in the mail and nowhere else."""
    body = [
        *_wrapped(
            "Somebody, probably you, asked for a new password for your account on Mailward. Choose it here:"
        ),
        "",
        link,
        "",
        *_wrapped(f"The link works once, for {_count(days, 'day')}, and until you next sign in."),
        "",
        *_wrapped("If it was not you, there is nothing to do: your password stays as it is."),
    ]
    return _build(
        sender=sender,
        recipient=recipient,
        subject="Mailward: a new password",
        body=body,
        message_id=message_id,
        date=date,
    )


def build_notice(
    recipient: str,
    *,
    subject: str,
    lines: Sequence[str],
    page: str,
    sender: str,
    message_id: str,
    date: datetime,
) -> bytes:
    """A mail that tells of something once. `page`: where it stands; who has no login gets an error there."""
    body = [*lines, "", "On the console:", page]
    return _build(
        sender=sender, recipient=recipient, subject=subject, body=body, message_id=message_id, date=date
    )


def wrapped(text: str) -> list[str]:
    """Prose as lines of a mail."""
    return _wrapped(_one_line_whole(text))


def _one_line_whole(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def sender_domain(sender: str) -> str:
    """The domain for our Message-IDs."""
    _, at, domain = parseaddr(sender)[1].rpartition("@")
    return (at and _PLAIN.sub("", domain)) or "localhost"


def _build(
    *, sender: str, recipient: str, subject: str, body: Sequence[str], message_id: str, date: datetime
) -> bytes:
    message = EmailMessage(policy=SMTP)
    name, address = parseaddr(sender)
    message["From"] = Address(display_name=_one_line(name), addr_spec=parse_address(address))
    message["To"] = Address(addr_spec=parse_address(recipient))
    message["Subject"] = _one_line(subject)
    message["Date"] = format_datetime(date)
    message["Message-ID"] = message_id
    # RFC 3834 section 5: nobody's holiday notice should answer
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content("\n".join([*body, ""]), cte="quoted-printable")
    return message.as_bytes()


def _explain(letter: Letter) -> Explanation:
    """The catalogue's entry, with the one host or domain concerned where there is only one."""
    one_host = letter.hosts[0] if letter.host_count == 1 else None
    one_domain = letter.domains[0] if letter.domain_count == 1 else None
    return explain_problem(letter.result_types[0]).filled(mx=one_host, domain=one_domain)


def _as_clause(title: str) -> str:
    """A title within a sentence: `No STARTTLS` becomes `no STARTTLS`, but `TLSA` stays."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _place(letter: Letter) -> str:
    # "policy could not be fetched: mta-sts.example.net", "certificate expired on mx1.example.net"
    cause = letter.result_types[0]
    is_mx = cause not in POLICY_HOST_RESULTS and cause not in HOSTING and not cause.startswith(_NAMES)
    word = " on" if is_mx else ":"
    if letter.host_count > 1:
        return f"{word} {letter.host_count:,} hosts"
    host = letter.hosts[0] if letter.hosts else ""
    return f"{word} {_foreign(host)}" if host else ""


def _what_was_seen(letter: Letter) -> str:
    told = [_what_reports_say(letter)] if letter.sessions else []
    if letter.checked:
        also = "also " if told else ""
        told.append(_how_seen(letter.result_types[0], also, _count(letter.checked, "domain")))
    return " ".join(told) or _what_reports_say(letter)


def _how_seen(cause: str, also: str, found: str) -> str:
    if cause in HOSTING:
        return f"Mailward asked for the certificate of {found}, and did not get it."
    if cause == JUMPED:
        return f"It shows in the verified reports about {found}, day by day."
    return f"Mailward {also}saw it itself, looking at {found} from outside."


def _evidence(letter: Letter) -> list[str]:
    if not letter.seen:
        return []
    shown = (_one_line(each)[:_MAX_EVIDENCE] for each in letter.seen)
    return [
        "",
        "What was seen",
        *(line for each in shown for line in _wrapped(each, first="  ", rest="    ")),
    ]


def _what_reports_say(letter: Letter) -> str:
    reporters = ", ".join(_foreign(each) for each in letter.reporters[:5])
    among = ", among them" if letter.reporter_count > len(letter.reporters[:5]) else ":"
    by = f"{_count(letter.reporter_count, 'reporter')}{among} {reporters}" if reporters else "reporters"
    since = _since(letter.first_day, letter.last_day)
    sessions = _count(letter.sessions, "failed session")
    return f"TLS reports of {since} tell of {sessions} to {_count(letter.domain_count, 'domain')} ({by})."


def _since(first: date, last: date) -> str:
    return f"{first:%d %B %Y}" if first == last else f"{first:%d %B %Y} to {last:%d %B %Y}"


def _section(explanation: Explanation) -> list[str]:
    return [f"({explanation.section})"] if explanation.section else []


def _numbered(steps: Sequence[str]) -> list[str]:
    lines = []
    for number, step in enumerate(steps, start=1):
        # a command between backticks must stay in one piece to be copied
        whole = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _KEPT_BLANK), step)
        lines += [line.replace(_KEPT_BLANK, " ") for line in _wrapped(whole, first=f"{number}. ", rest="   ")]
    return lines


def _listed(names: Sequence[str], count: int) -> list[str]:
    lines = [f"  {_foreign(name) or '(host not named by reports)'}" for name in names]
    if count > len(names):
        lines.append(f"  and {count - len(names):,} more")
    return lines


def _hosts(letter: Letter) -> list[str]:
    if letter.host_count == 1:
        return []
    return ["", f"Hosts: {letter.host_count:,}", *_listed(letter.hosts, letter.host_count)]


def _link(letter: Letter, console_url: str) -> list[str]:
    if not letter.has_login:
        return []
    page = f"/problems/{letter.problem_ids[0]}/" if len(letter.problem_ids) == 1 else "/problems/"
    return ["", f"All of it, until {_who_closes(letter)} it gone:", f"{console_url}{page}"]


def _who_closes(letter: Letter) -> str:
    if not letter.checked:
        return "reports show"
    return "reports and checks show" if letter.sessions else "checks show"


def _why_you(letter: Letter) -> str:
    whose = _one_line(letter.organisation)
    if letter.has_login:
        return (
            f"You get this once for each problem, because you are told about problems of {whose}'s domains."
        )
    return f"You get this once for each problem, because {whose} named you to be told about these domains."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _foreign(text: str) -> str:
    """A name that a stranger gave, as one short word that no mail program takes for anything else."""
    return _PLAIN.sub("?", text)[:_MAX_SHOWN]


def _one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:200]


def _wrapped(text: str, *, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
