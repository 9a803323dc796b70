"""What was seen of a domain, frozen: no judgement, so that old facts can be judged again by newer rules."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailward.core.dane.judge import Outcome
from mailward.core.names import Domain


class Found(StrEnum):
    FOUND = "found"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question to the DNS, and its answer."""

    name: str
    kind: str
    """Such as `TXT`."""
    found: Found
    records: tuple[str, ...] = ()
    """Zone file text; of TXT records, what is printable, the rest escaped."""
    texts: tuple[bytes, ...] = ()
    """Of TXT records, as they came."""
    is_secure: bool = False
    """The resolver says that DNSSEC proved the answer."""
    chain: tuple[str, ...] = ()
    """Where CNAMEs led, in order."""
    reason: str = ""
    """Why it failed."""

    @property
    def was_found(self) -> bool:
        return self.found is Found.FOUND

    @property
    def has_failed(self) -> bool:
        return self.found is Found.FAILED

    @property
    def outcome(self) -> Outcome:
        if self.has_failed:
            return Outcome.FAILED
        if not self.is_secure:
            return Outcome.INSECURE
        return Outcome.SECURE if self.was_found else Outcome.ABSENT


@dataclass(frozen=True, slots=True)
class TrustError:
    """What OpenSSL said about one certificate of a chain."""

    number: int
    """X509_V_ERR_..."""
    depth: int
    """0: the server's own certificate."""
    text: str


@dataclass(frozen=True, slots=True)
class Tls:
    """A finished handshake."""

    version: str
    cipher: str
    chain: tuple[bytes, ...]
    """DER, as presented."""
    errors: tuple[TrustError, ...] = ()
    """Nothing: OpenSSL trusts the chain by the authorities it was given. Names are not its business here."""


@dataclass(frozen=True, slots=True)
class Ciphers:
    """Which cipher suites one address accepts."""

    accepted: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """TLS version, and names of IANA's registry in the order in which the server chose them."""
    unfinished: str = ""
    """Why not all were asked for."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What only more connections show."""

    versions: tuple[tuple[str, str], ...] = ()
    """The TLS versions that were accepted, each with the cipher chosen."""
    accepts_injected: bool | None = None
    """Whether a command in the clear behind STARTTLS is carried out over TLS; None: not observed."""
    ciphers: Ciphers | None = None


class Reach(StrEnum):
    SPOKE = "spoke"
    """It greeted us and answered EHLO."""
    REFUSED = "refused"
    """Nobody listens at that port."""
    SILENT = "silent"
    """No route from here, no answer in time, or the line broke before it said anything that counts."""
    TURNED_AWAY = "turned-away"
    """It told us to come later, or not at all: greylisting, block lists, a busy server."""
    FORBIDDEN = "forbidden"
    """An address that we do not connect to."""


@dataclass(frozen=True, slots=True)
class Session:
    """One SMTP connection to one address of an MX host."""

    address: str
    reach: Reach
    reason: str = ""
    """Why no more was seen."""
    banner: str = ""
    extensions: tuple[str, ...] = ()
    """Of the answer to EHLO before TLS."""
    starttls_reply: str = ""
    """Where STARTTLS was offered and refused."""
    tls: Tls | None = None
    tls_error: str = ""
    """Why the handshake failed."""
    extensions_in_tls: tuple[str, ...] = ()
    depth: Depth | None = None
    """None: not asked for."""

    @property
    def offers_starttls(self) -> bool:
        return any(line.partition(" ")[0].upper() == "STARTTLS" for line in self.extensions)

    @property
    def is_observed(self) -> bool:
        """Whether the session says anything about TLS."""
        if self.reach is not Reach.SPOKE:
            return False
        return not self.offers_starttls or bool(self.tls or self.tls_error or self.starttls_reply)


@dataclass(frozen=True, slots=True)
class MxHost:
    name: str
    v4: Lookup
    v6: Lookup
    tlsa: tuple[Lookup, ...] = ()
    """In the order of RFC 7672 section 2.2.3. Looked up for hosts with an insecure address too: unless the host is a
    secure alias such records do nothing, and their owner should know."""
    sessions: tuple[Session, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.v4.records + self.v6.records

    @property
    def address_outcome(self) -> Outcome:
        found = [lookup for lookup in (self.v4, self.v6) if lookup.was_found]
        if not found:
            return Outcome.FAILED if self.v4.has_failed or self.v6.has_failed else Outcome.ABSENT
        return Outcome.SECURE if all(lookup.is_secure for lookup in found) else Outcome.INSECURE


UNOBSERVED = "unobserved"
"""The error of a fetch that says nothing of the policy host: there was no way there from here, or it was not asked."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One attempt to fetch the policy, from one address."""

    address: str
    error: str = ""
    """Stable slug of what went wrong on the way, empty where a body was served as it should be."""
    message: str = ""
    status: int | None = None
    """Of HTTP, where it is not 200."""
    body: bytes = b""
    tls: Tls | None = None
    client: str = ""
    """Who we said that we were, where it was another client than ours: `like a browser`."""

    @property
    def has_body(self) -> bool:
        return not self.error


@dataclass(frozen=True, slots=True)
class PolicyHost:
    v4: Lookup
    v6: Lookup
    fetches: tuple[Fetch, ...] = ()
    caa: Lookup | None = None
    """The CAA records that count for its certificate (RFC 8659 section 3); None: not looked up."""
    as_others: Fetch | None = None
    """One more, as another client, from an address that serves the policy; where none does, from one that answers."""

    @property
    def name(self) -> str:
        return self.v4.name

    @property
    def chain(self) -> tuple[str, ...]:
        return self.v4.chain or self.v6.chain


@dataclass(frozen=True, slots=True)
class ReportTarget:
    """Where reports are to go, and whether anything is there."""

    uri: str
    host: str
    """The mail domain, or the host of the https URI."""
    takes_reports: bool | None
    """Mail: it has MX hosts or an address. HTTPS: it does TLS. None: not observed."""
    reason: str = ""
    took_trial: bool | None = None
    """Whether it took a test report; None: none was sent, or it may be taken later."""
    trial: str = ""
    """What it said to that; empty: none was asked for."""


@dataclass(frozen=True, slots=True)
class Facts:
    domain: Domain
    at: datetime
    """When looking began."""
    validates: bool
    """Whether the resolver validates DNSSEC."""
    mx: Lookup
    """`preference host` for each."""
    hosts: tuple[MxHost, ...]
    """In the order of preference; the domain itself where it has no MX records."""
    sts: Lookup
    """TXT at `_mta-sts`."""
    elsewhere: tuple[Lookup, ...]
    """TXT at names where people put the record by mistake."""
    policy_host: PolicyHost
    tlsrpt: Lookup
    """TXT at `_smtp._tls`."""
    targets: tuple[ReportTarget, ...] = ()
    has_smtp: bool = True
    """Whether MX hosts were spoken to."""
    skipped_hosts: int = 0
    """MX hosts beyond the limit, not looked at."""
    supposed: tuple[str, ...] = ()
    """What is not so, but was asked about: a dry run."""


def mx_names(domain: Domain, mx: Lookup) -> list[str]:
    """All MX hosts, by preference, then name. RFC 5321 §5.1: the domain itself where there are no MX records."""
    if not mx.was_found:
        return [] if mx.has_failed else [domain]
    ordered = sorted((_preference(record), record.partition(" ")[2]) for record in mx.records)
    return list(dict.fromkeys(name for _, name in ordered if name not in (".", "")))


def _preference(record: str) -> int:
    number = record.partition(" ")[0]
    return int(number) if number.isdigit() else 65_536
