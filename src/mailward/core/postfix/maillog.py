"""Postfix's log lines about deliveries by smtp(8), read one by one.

    Nov 27 22:40:16 mx1 postfix/smtp[8495]: 053D2220630: to=<a@example.com>, relay=mx.example.com[192.0.2.1]:25,
        ..., dsn=4.7.5, status=deferred (Server certificate not verified)
    2026-11-27T22:40:15.123+01:00 mx1 postfix/smtp[8499]: Untrusted TLS connection established to mx...:25: TLSv1.3

The text after the address comes from strangers (their replies), so only what stands before it is read by its form.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from mailward.core.names import Domain, InvalidName, parse_domain

MAX_LINE = 8192  # syslog lines are shorter; what is longer is cut

# `postfix/smtp`, `postfix-out/smtp` (syslog_name), `postfix/relay/smtp` (master.cf -o syslog_name=...)
_HEAD = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\d)T\S+|(?P<day>[A-Z][a-z]{2} [ \d]\d) \d\d:\d\d:\d\d) "
    r"(?:\S+ )?[\w./-]+/(?P<program>smtp|tlsproxy)\[\d{1,10}\]: (?P<rest>.*)"
)
_DELIVERY = re.compile(
    r"(?:[0-9A-Za-z]{5,30}|NOQUEUE): to=<(?P<to>[^>]*)>, (?:orig_to=<[^>]*>, )?relay=(?P<relay>[^,]+), "
    r"(?:conn_use=\d+, )?delay=.*?, dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<text>.*)\)?$"
)
_TLS = re.compile(
    r"(?P<trust>Anonymous|Untrusted|Trusted|Verified) TLS connection (?:established|reused) to (?P<relay>\S+?)"
    r"(?: to \S+)?: (?:TLS|SSL)"
)
_RELAY = re.compile(r"(?P<name>[^\[\]]+)\[(?P<address>[^\]]*)\](?::(?P<port>\d+))?$")

NO_HOST_LEFT = "server unavailable or unable to receive mail"
"""Of Postfix 3.10.5 and later where the policy names no MX host: all were skipped. Seldom, of others too."""

# What Postfix says where its own rules about TLS, or the table's answer, made the mail wait
_BY_POLICY = (
    NO_HOST_LEFT,
    "Server certificate not verified",
    "Server certificate not trusted",
    "TLS is required, but was not offered by host",
    "TLS is required, but our TLS engine is unavailable",
    "client TLS configuration problem",
    "non DNSSEC destination",
    "no TLSA records found",
    "TLSA lookup error",
    "Cannot start TLS: handshake failure",
    "does not match STS MX pattern",
    "certificate verification failed",
)


class Trust(StrEnum):
    """How smtp(8) calls a TLS connection (TLS_README, smtp_tls_loglevel 1)."""

    NONE = "none"
    """No such line: sent in the clear, or over a connection whose line is elsewhere."""
    ANONYMOUS = "anonymous"
    UNTRUSTED = "untrusted"
    TRUSTED = "trusted"
    """By a known authority; the name was not looked at."""
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Relay:
    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Delivery:
    domain: Domain
    relay: Relay | None
    """None: nobody was connected to."""
    status: str
    text: str


@dataclass(frozen=True, slots=True)
class TlsSummary:
    relay: Relay
    trust: Trust


Event = Delivery | TlsSummary


def read_line(line: str) -> Event | None:
    """The event in a line of smtp(8) or tlsproxy(8); None for all others."""
    head = _HEAD.match(line[:MAX_LINE])
    if head is None:
        return None
    rest = head["rest"]
    if (found := _TLS.match(rest)) is not None:
        relay = parse_relay(found["relay"])
        return TlsSummary(relay, Trust(found["trust"].lower())) if relay else None
    if head["program"] == "smtp" and (found := _DELIVERY.match(rest)) is not None:
        try:
            domain = parse_domain(found["to"].rpartition("@")[2])
        except InvalidName:
            return None
        text = found["text"].removesuffix(")")
        return Delivery(domain, parse_relay(found["relay"]), found["status"], text)
    return None


def read_day(line: str) -> str:
    """The day of a line as it stands there, for people; empty for what is no line of Postfix's."""
    head = _HEAD.match(line[:MAX_LINE])
    return "" if head is None else head["iso"] or head["day"]


def parse_relay(text: str) -> Relay | None:
    found = _RELAY.match(text)
    if found is None:
        return None
    return Relay(found["name"].lower().rstrip("."), found["address"], int((found["port"] or "25")[:5]))


def is_by_policy(reason: str) -> bool:
    """Whether mail waits, or may wait (NO_HOST_LEFT), because TLS was not as it had to be, as smtp(8) words it."""
    return any(words in reason for words in _BY_POLICY)
