"""The tables of `mailward sender`."""

import re
from typing import Annotated, Literal

import msgspec

from mailward.config.values import (
    MAX_DAYS,
    Command,
    Count,
    Days,
    Minutes,
    Positive,
    Seconds,
    check_each,
    keep_each,
    keep_name,
    parse_ehlo,
)
from mailward.core.addresses import parse_address
from mailward.core.names import is_address
from mailward.core.places import check_host, check_url, parse_place

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class Sender(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`mailward sender`: the policy server beside Postfix."""

    mode: Literal["enforce", "shadow"] = "enforce"
    """`shadow`: Postfix is answered as if we were not there, and what we would have said is written down."""
    shadow_table: str = ""
    """In shadow mode, the site's own table: `socketmap:inet:host:port:name` or `texthash:/path`."""
    shadow_file: str = ""
    """Where shadow mode writes; empty means `<data>/sender-shadow.sqlite3`."""
    listen: tuple[str, ...] = ("127.0.0.1:8461",)
    """`address:port` or `unix:/path`; sockets that systemd hands over replace them."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Processes on the same sockets."""
    socket_mode: Annotated[str, msgspec.Meta(pattern=r"^0?[0-7]{3}$")] = "666"
    """Permissions of unix sockets: Postfix's user must be able to write."""
    cache: str = ""
    """The SQLite file; empty means `<data>/sender.sqlite3`."""
    max_domains: Positive = 200_000
    """So many policies are kept; ended and unused ones go first."""
    overrides: str = ""
    """A TOML file with the operator's own word about domains."""
    default_level: Literal[
        "", "none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"
    ] = ""
    """Postfix's smtp_tls_security_level; empty: not told, and never answered with what might be less."""
    record_failure: Literal["notfound", "temp"] = "notfound"
    """When the `_mta-sts` record cannot be looked up and no policy is cached."""
    dane: bool = True
    """Look for DANE, where a resolver on loopback validates."""
    dnssec_secure_name: str = "."
    dnssec_bogus_name: str = "dnssec-failed.org"
    recheck_seconds: Seconds = 300
    """How often the record of a domain that gets mail is looked at again."""
    policy_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    """Of policy hosts; another one only in laboratories."""
    ca_file: str = ""
    """Certificate authorities (PEM) for policy hosts; empty: the system's."""
    metrics_listen: str = "127.0.0.1:8462"
    """`address:port` of /metrics and /healthz; empty: none."""
    log_format: Literal["", "text", "json", "journal"] = ""
    """Of the sender's processes; empty: as [log] says."""
    notice_minutes: Minutes = 5
    """How often Postfix's queue and failing refreshes are looked at."""
    queue_command: tuple[str, ...] = ("postqueue", "-j")
    """What prints the queue; empty: it is not looked at."""
    notice_mail: tuple[str, ...] = ()
    """Addresses that are told of mail that waits because of policy."""
    notice_mail_command: Command = ("/usr/sbin/sendmail", "-i", "--")
    """Takes the mail on standard input; the addresses are added."""
    notice_webhook: Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$")] = ""
    """A URL that gets the same as JSON."""

    def __post_init__(self) -> None:
        check_each("listen", self.listen, _check_socket)
        check_each("shadow_table", self.shadow_table, _check_table)
        for key in ("dnssec_secure_name", "dnssec_bogus_name"):
            if getattr(self, key) != ".":
                keep_name(self, key)
        keep_each(self, "notice_mail", _parse_recipient)
        check_each("notice_webhook", self.notice_webhook, _check_webhook)
        check_each("metrics_listen", self.metrics_listen, parse_place)


class Tlsrpt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`mailward sender`: TLS reports about the mail that this Postfix sends."""

    socket: str = ""
    """Where Postfix's datagrams arrive, its smtp_tlsrpt_socket_name; empty: no reports are made."""
    socket_mode: Annotated[str, msgspec.Meta(pattern=r"^0?[0-7]{3}$")] = "666"
    """Permissions of that socket: Postfix's user must be able to write."""
    counts: str = ""
    """The SQLite file of the counts; empty means `<data>/sender-tlsrpt.sqlite3`."""
    log: str = ""
    """Postfix's log, to fill in what it does not report: a file, or `journal`; empty: it is not followed."""
    journal_command: Command = ("journalctl",)
    """Reads the journal; the options are added."""
    verify_mx: bool = False
    """Look at the certificates of MX hosts that mail went to under a testing policy."""
    ehlo_name: str = ""
    """How we call ourselves then; empty: this machine's name."""
    contact: str = ""
    """The mail address of who is responsible for the reports, their From; empty: none are made."""
    organization: str = ""
    """The name of who reports; empty: the domain of `contact`."""
    reports: str = ""
    """The SQLite file of reports and deliveries; empty means `<data>/sender-reports.sqlite3`."""
    make_after_minutes: Annotated[int, msgspec.Meta(ge=1, le=720)] = 15
    """So long after midnight UTC the reports of the day are made."""
    spread_minutes: Annotated[int, msgspec.Meta(ge=0, le=1200)] = 240
    """They go out at random times within so many minutes."""
    keep_days: Annotated[int, msgspec.Meta(ge=2, le=MAX_DAYS)] = 30
    """How long reports and what became of them are kept."""
    give_up_days: Days = 7
    """A report that has waited for so long is not sent any more."""
    keep_counts_days: Days = 3
    """How long counts are kept after their day: for people who ask."""
    dkim_selectors: tuple[str, ...] = ()
    """Keys that sign report mail, made by `mailward sender key`; empty: the mail server signs."""
    envelope_sender: str = ""
    """Where report mail that cannot be delivered comes back; `*` becomes the delivery's token. Empty: `contact`."""
    sendmail_command: Command = ("/usr/sbin/sendmail", "-i")
    """Takes report mail on standard input; `-f SENDER -- RECIPIENT` is added."""
    smtp_host: str = ""
    """Instead of the command: a mail server that takes report mail by SMTP."""
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    mails_per_hour: Positive = 10_000
    warm_up_mails_per_hour: Count = 200
    """So many on the first day, twice as many on each further one until `mails_per_hour`; 0: no warm-up."""
    https_certificate: Literal["require", "any"] = "require"
    """Of web servers that take reports; RFC 8460 allows to ignore what is wrong with it."""
    suppress_after_days: Days = 5
    """So many days on which all comes back: nothing is sent there ..."""
    suppress_days: Days = 30
    """... for so many days."""

    def __post_init__(self) -> None:
        keep_each(self, "ehlo_name", parse_ehlo)
        keep_each(self, "contact", parse_address)
        keep_each(self, "envelope_sender", parse_address)
        check_each("dkim_selectors", self.dkim_selectors, _check_selector)
        check_each("smtp_host", self.smtp_host, check_host)


def _check_socket(text: str) -> None:
    host, _, port = text.rpartition(":")
    is_path = text.startswith("unix:") and text != "unix:"
    if not is_path and not (is_address(host) and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{text[:100]!r} is neither address:port nor unix:/path")


def _parse_recipient(text: str) -> str:
    """An address, or a user of this machine."""
    return parse_address(text) if "@" in text else parse_address(f"{text}@localhost").partition("@")[0]


def _check_webhook(text: str) -> None:
    try:
        check_url(text, "https", "http")
    except ValueError:
        # not quoted: whoever has it may write there
        raise ValueError("it is no URL that can be used: https:// or http:// and a host") from None


def _check_table(text: str) -> None:
    if text.partition(":")[0] not in ("socketmap", "texthash"):
        raise ValueError(f"{text[:100]!r} begins neither with socketmap: nor with texthash:")


def _check_selector(text: str) -> None:
    if not _SELECTOR.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no selector: letters, digits and inner hyphens, in lower case")
