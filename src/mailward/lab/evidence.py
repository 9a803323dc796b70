"""What was seen of one attempt to send mail, by whom, and what follows from it.

Nothing here is written by hand: whether the body could be read comes from the captured packets, who has the mail from
the mailboxes, what Postfix did from its log, what was reported from the reports that reached the platform.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from mailward.lab.attacker import Event
from mailward.lab.mta import Delivery
from mailward.lab.owner import Open, Told
from mailward.lab.scenarios import Cell
from mailward.lab.site import Decision
from mailward.lab.wire import HTTPS, SMTP, Packet, Talk, dns_answers, talks

SENDER, WIRE, ATTACKER, RECEIVER = "sender", "wire", "attacker", "receiver"
_MAX_LINE = 300
_COUNTED = ("verified", "vouched-relay", "vouched-person")  # store.models.Trust: only these are believed
_TOLD = re.compile(r"TLS connection|TLS|STARTTLS|status=|warning:|[Cc]ertificate|policy|MX name")
_PREFIX = re.compile(r"^\S+\s+\d+ [\d:]+ \S+ ")


class Step(msgspec.Struct, frozen=True):
    party: str
    text: str


class Act(msgspec.Struct, frozen=True):
    """One message, and what became of it."""

    status: str
    """Postfix's word: sent, deferred, bounced."""
    answer: str
    """Its reason."""
    is_readable: bool
    """The body could be read by whoever saw the packets between sender and attacker."""
    attacker_has_it: bool
    receiver_has_it: bool
    steps: tuple[Step, ...]


class Fate(StrEnum):
    """What became of a message."""

    CLEAR = "delivered in clear"
    ENCRYPTED = "delivered encrypted"
    REFUSED = "refused"
    """It waits in the sender's queue."""
    LOST = "lost"


class Outcome(msgspec.Struct, frozen=True):
    fate: Fate
    is_intercepted: bool
    """The attacker has read it."""
    reported: tuple[str, ...]
    """Result types of RFC 8460, sorted."""
    has_report: bool
    """Whether the owner got any report about the domain, also one without a failure."""


@dataclass(frozen=True, slots=True)
class Window:
    """Everything that was collected while one act went on."""

    begins: float
    ends: float
    packets: Sequence[Packet]
    events: Sequence[Event]
    log: str
    """Postfix's."""
    deliveries: dict[str, Delivery]
    policy_log: str
    """Of `mailward sender run`."""
    decisions: dict[str, Decision]
    letters: Sequence[str]
    stolen: Sequence[bytes]
    smtp: list[Talk] = field(default_factory=list)
    https: list[Talk] = field(default_factory=list)
    dns: list[tuple[float, str, str]] = field(default_factory=list)


def make_window(window: Window) -> Window:
    """With what is read from the packets, once for all cells."""
    within = [packet for packet in window.packets if window.begins <= packet.at < window.ends]
    window.smtp.extend(talks(within, SMTP))
    window.https.extend(talks(within, HTTPS))
    window.dns.extend(dns_answers(within))
    return window


def read_act(cell: Cell, secret: str, window: Window) -> Act | None:
    """None: no such message was sent then."""
    delivery = window.deliveries.get(cell.recipient)
    if delivery is None:
        return None
    mine = [talk for talk in window.smtp if talk.server[0] in (cell.mx_address, cell.evil_address)]
    steps = [
        *_lookups(cell, window),
        *_policy(cell, window),
        *_session(cell, secret, mine, window),
        *(Step(SENDER, line) for line in _lines_about(cell, window.log)),
        *_endings(cell, secret, window),
    ]
    return Act(
        status=delivery.status,
        answer=delivery.text,
        is_readable=any(talk.contains(secret.encode()) for talk in mine),
        attacker_has_it=any(secret.encode() in mail for mail in window.stolen),
        receiver_has_it=any(secret in letter for letter in window.letters),
        steps=tuple(steps),
    )


def judge(act: Act, told: Iterable[Told]) -> Outcome:
    """What is to be said about the act, and what the owner was told of it."""
    if act.receiver_has_it or act.attacker_has_it:
        fate = Fate.CLEAR if act.is_readable else Fate.ENCRYPTED
    else:
        fate = Fate.REFUSED if act.status == "deferred" else Fate.LOST
    reports = [each for each in told if each.trust in _COUNTED]
    types = {failure.result_type for each in reports for failure in each.failures if failure.sessions}
    return Outcome(fate, act.attacker_has_it, tuple(sorted(types)), bool(reports))


def _lookups(cell: Cell, window: Window) -> list[Step]:
    """What the DNS answered; each thing once."""
    wanted = {
        f"{cell.domain} MX",
        f"_mta-sts.{cell.domain} TXT",
        f"_25._tcp.{cell.mx} TLSA",
        f"_25._tcp.{cell.evil} TLSA",
    }
    said = {f"{asked}: {answer}": None for _at, asked, answer in window.dns if asked in wanted}
    return [Step(WIRE, f"DNS {line[:_MAX_LINE]}") for line in said]


def _policy(cell: Cell, window: Window) -> list[Step]:
    steps = []
    for talk in window.https:
        if talk.server[0] == cell.policy_address:
            size = sum(len(said) for is_client, said in talk.turns if not is_client)
            became = f"answers with {size} bytes" if size else "cannot be reached"
            steps.append(Step(WIRE, f"HTTPS mta-sts.{cell.domain}: {became}"))
    steps += [Step(SENDER, line) for line in _lines_about(cell, window.policy_log)]
    if (decision := window.decisions.get(cell.domain)) is not None:
        steps.append(Step(SENDER, f"tells Postfix ({decision.row}): {decision.answer[:_MAX_LINE]}"))
    else:
        steps.append(Step(SENDER, "tells Postfix: NOTFOUND, nothing is known of this domain"))
    return steps


def _session(cell: Cell, secret: str, mine: Sequence[Talk], window: Window) -> list[Step]:
    steps = []
    for talk in mine:
        for is_client, line in _shorten(talk.dialogue()):
            mark = "C" if is_client else "S"
            note = "   <- anybody on the path can read this" if secret in line else ""
            steps.append(Step(WIRE, f"{mark}: {line[:_MAX_LINE]}{note}"))
    done = Counter(event.text for event in window.events if _is_about(cell, event, window))
    steps += [
        Step(ATTACKER, text if times == 1 else f"{text} ({times} times)") for text, times in done.items()
    ]
    return steps


def _is_about(cell: Cell, event: Event, window: Window) -> bool:
    if not window.begins <= event.at < window.ends:
        return False
    return event.about in (cell.mx_address, cell.evil_address) or event.about.endswith(cell.domain)


def _shorten(dialogue: Sequence[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """A reply of several lines becomes one; the header of the message is left out."""
    lines: list[tuple[bool, str]] = []
    in_header = False
    for is_client, line in dialogue:
        if is_client and in_header:
            in_header = line != ""
            continue
        goes_on = bool(lines) and not is_client and not lines[-1][0] and lines[-1][1][3:4] == "-"
        if goes_on:
            lines[-1] = (False, f"{line[:4]}{lines[-1][1][4:]} / {line[4:]}")
        else:
            lines.append((is_client, line))
        in_header = (not is_client and line.startswith("354")) or (in_header and not is_client)
    return lines


def _lines_about(cell: Cell, log: str) -> list[str]:
    """What is told of TLS, of policy and of the end; each thing once."""
    name = re.compile(rf"(?<![\w-]){re.escape(cell.label)}\.(?:evil\.)?test")
    found = [
        _PREFIX.sub("", line)[:_MAX_LINE]
        for line in log.splitlines()
        if name.search(line) and _TOLD.search(line) and "decision-changed" not in line
    ]
    return list(dict.fromkeys(found))


def _endings(cell: Cell, secret: str, window: Window) -> list[Step]:
    steps = []
    for letter in window.letters:
        if secret in letter:
            over = "over TLS" if "using TLSv" in letter else "without TLS"
            steps.append(Step(RECEIVER, f"has the mail, taken {over}"))
    return steps


def problems_of(cell: Cell, problems: Iterable[Open]) -> tuple[str, ...]:
    return tuple(f"{each.result_type} at {each.host}" for each in problems if each.domain == cell.domain)
