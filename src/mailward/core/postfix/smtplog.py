"""What Postfix's clients log about one connection, for those who follow the log: when, which process, what.

    Nov 28 23:15:02 mx1 postfix/smtp[5389]: Trusted TLS connection established to mx.example[192.0.2.1]:25: TLSv1.3 ...
    Nov 28 23:15:02 mx1 postfix/smtp[5389]: TLSRPT: status=success, domain=a.example, receiving_mx=mx.example[192.0.2.1]
    Nov 28 23:15:02 mx1 postfix/smtp[5389]: C9339186130: to=<bob@a.example>, relay=mx.example[192.0.2.1]:25, ...
    Nov 28 23:15:02 mx1 postfix/smtp[5409]: warning: MX name 'mx.evil' does not match STS MX pattern for 'b.example'

Texts that strangers write (their replies) stand at the end of a line: of a mail that was not taken only Postfix's own
last words are read, which tell how far the session came. An address is read with its quotes, so that no recipient can
look like the rest of the line. `core.postfix.maillog` reads old logs for people.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailward.core.names import Domain, InvalidName, is_address, parse_domain
from mailward.core.postfix.maillog import MAX_LINE, Relay, parse_relay

_HEAD = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<traditional>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)) "
    r"(?:[\w.:-]{1,255} )?(?P<rest>[\w./-]{1,100}\[\d{1,10}\]: .*)",
    re.ASCII,
)
_PROGRAM = re.compile(
    r"(?P<tag>[\w./-]{1,100}/(?P<program>smtp|tlsproxy|qmgr))\[(?P<pid>\d{1,10})\]: (?P<text>.*)", re.ASCII
)
# RFC 5321 §4.1.2: in quotes, a local part may hold anything, `>, relay=` too
_ADDRESS = r'<(?:"(?:[^"\\]|\\.)*"|[^"<>@]*)@(?P<domain>[^"<>@,\s]{1,255})>'
_QUEUE_ID = r"(?P<queue_id>[0-9A-Za-z]{5,30})"
_DELIVERED = re.compile(
    rf"{_QUEUE_ID}: to={_ADDRESS}, (?:orig_to=<[^<>]*>, )?relay=(?P<relay>[^,\s]+), "
    r"(?:conn_use=(?P<use>\d{1,9}), )?delay=[\d.e+]{1,20}, "
    r"delays=(?P<delays>[\d.e+]{1,20}/[\d.e+]{1,20}/[\d.e+]{1,20}/[\d.e+]{1,20}), "
    r"dsn=[\d.]{1,20}, status=(?P<status>[a-z]{1,20}) \((?P<why>.*)"
)
# smtp_proto.c: what it was doing when that was said, always last; only after STARTTLS was used, or done without
_IN_MAIL = re.compile(
    r"host (?P<said>\S+) said: .*\(in reply to (?:MAIL FROM|RCPT TO|DATA|end of DATA) command\)\)$"
    r"|(?:lost connection with|conversation with) (?P<lost>\S+) (?:timed out )?while sending "
    r"(?:MAIL FROM|RCPT TO|DATA command|message body|end of data)"
)
_QUEUED = re.compile(rf"{_QUEUE_ID}: from=<(?P<sender>[^<>]{{0,320}})>, size=")
_ESTABLISHED = re.compile(
    r"(?:Anonymous|Untrusted|Trusted|Verified) TLS connection (?:established|reused) to "
    r"(?P<relay>[^\s\[\]]+\[[^\[\]\s]+\](?::\d+)?)(?:[: ]|$)"
)
_SIGNALLED = re.compile(
    r"TLSRPT: status=(?P<status>success|failure), domain=(?P<domain>[^,\s]{1,255}), "
    r"receiving_mx=(?P<relay>[^,\s\[\]]+\[[^\[\]\s]+\])(?:,|$)"
)
_REFUSED = re.compile(
    r"warning: MX name '(?P<host>[^'\s]{1,255})' does not match STS MX pattern for '(?P<domain>[^'\s]{1,255})'$"
)
# trw_report_success/failure of 3.10.13, whatever reason and number follow
_NOT_SENT = re.compile(r"(?:warning: )?Could not report TLS handshake result to tlsrpt library: ")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = timedelta(days=1)
MAX_DELAY_SECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Established:
    """A TLS connection of this process's: by smtp_tls_loglevel, at least 1."""

    host: str
    address: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """A datagram was sent to the TLSRPT library, by this very process: whatever smtp_tls_loglevel is."""

    domain: Domain
    host: str
    address: str
    is_success: bool


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one recipient."""

    queue_id: str
    domain: Domain
    """Of the recipient."""
    relay: Relay | None
    """None: nobody was connected to."""
    use: int
    """1: the connection was made for this mail; above, it served others before."""
    delays: str
    """Before the queue manager / in it / connection setup / transmission, as they stand there."""
    status: str
    is_in_mail: bool = True
    """Whether that session came to the mail itself, so that it had used STARTTLS by then, or done without."""

    @property
    def connected_seconds(self) -> float:
        """How long before the line the process began to look for a host, at most."""
        setup, transmission = self.delays.split("/")[2:]
        return _seconds(setup) + _seconds(transmission)


@dataclass(frozen=True, slots=True)
class Refused:
    """An enforcing policy does not name this MX host: it was passed over (smtp_tls_enforce_sts_mx_patterns)."""

    domain: Domain
    host: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """A datagram that found no room, or nobody who listens: its session is counted by nobody."""


@dataclass(frozen=True, slots=True)
class Queued:
    queue_id: str
    sender: str
    """Of the envelope."""


Event = Established | Signalled | Delivered | Refused | Queued | NotSent


@dataclass(frozen=True, slots=True)
class Entry:
    at: float
    """Seconds since 1970; of whole seconds in the traditional format."""
    tag: str
    """Such as `postfix/smtp`: syslog_name and program."""
    pid: int
    event: Event


def read_line(line: str, now: datetime) -> Entry | None:
    """What a line of a log file says of a connection; None for all others. `now` is in the log's time zone, which
    lines in the traditional format do not name, nor the year.
    """
    head = _HEAD.match(line[:MAX_LINE])
    if head is None:
        return None
    try:
        at = _read_iso(head["iso"]) if head["iso"] else _read_traditional(head["traditional"], now)
    except (ValueError, OverflowError):
        return None
    return read_message(head["rest"], at)


def read_message(text: str, at: float) -> Entry | None:
    """The same for `tag[pid]: message`, with its time apart."""
    found = _PROGRAM.match(text[:MAX_LINE])
    if found is None:
        return None
    try:
        event = _read_event(found["program"], found["text"])
    except InvalidName:
        return None
    return Entry(at, found["tag"], int(found["pid"]), event) if event else None


def _read_event(program: str, text: str) -> Event | None:
    """Raises InvalidName."""
    if program == "qmgr":
        queued = _QUEUED.match(text)
        return Queued(queued["queue_id"], queued["sender"]) if queued else None
    if found := _ESTABLISHED.match(text):
        relay = _relay(found["relay"])
        return Established(relay.name, relay.address) if relay else None
    if found := _SIGNALLED.match(text):
        relay = _relay(found["relay"])
        domain = parse_domain(found["domain"])
        return Signalled(domain, relay.name, relay.address, found["status"] == "success") if relay else None
    if _NOT_SENT.match(text):
        return NotSent()
    if program != "smtp":
        return None
    if found := _REFUSED.match(text):
        return Refused(parse_domain(found["domain"]), parse_domain(found["host"], allow_single=True))
    if found := _DELIVERED.match(text):
        use = int(found["use"] or 1)
        domain, relay, status = parse_domain(found["domain"]), _relay(found["relay"]), found["status"]
        is_in_mail = status == "sent" or _is_in_mail(found["why"], relay)
        return Delivered(found["queue_id"], domain, relay, use, found["delays"], status, is_in_mail)
    return None


def _is_in_mail(why: str, relay: Relay | None) -> bool:
    found = _IN_MAIL.match(why)
    if found is None or relay is None:
        return False
    return (found["said"] or found["lost"]) == f"{relay.name}[{relay.address}]"


def _relay(text: str) -> Relay | None:
    relay = parse_relay(text)
    return relay if relay is not None and is_address(relay.address) else None


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), MAX_DELAY_SECONDS)
    except ValueError:
        return MAX_DELAY_SECONDS


def _read_iso(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _read_traditional(text: str, now: datetime) -> float:
    """Of this year, or of the last one: a log line is not from tomorrow. Raises ValueError."""
    month = _MONTHS.index(text[:3]) + 1
    day, (hour, minute, second) = int(text[4:6]), map(int, text[7:].split(":"))
    second = min(second, 59)  # a leap second is no second of datetime's
    for year in (now.year + 1, now.year, now.year - 1):
        try:
            at = datetime(year, month, day, hour, minute, second, tzinfo=now.tzinfo)
        except ValueError:
            if (month, day) == (2, 29):  # of another year
                continue
            raise
        if at <= now + _DAY:
            return at.timestamp()
    raise ValueError(f"{text} was in no year near {now.year}")
