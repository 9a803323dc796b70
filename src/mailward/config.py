"""Settings: one TOML file and the environment, parsed once into frozen structs.

An unknown key or a value of the wrong kind refuses to start, with the key's name. Each key may be overridden
by `MAILWARD_<TABLE>_<KEY>` in the environment, or read from the file that `MAILWARD_<TABLE>_<KEY>_FILE` names
(for secrets). docs/settings.md describes every key; a test holds the two together.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from mailward.core.acme.settings import Acme, public_names
from mailward.core.places import parse_place
from mailward.core.rollout.conditions import Conditions

_KEY = re.compile(r"`\$((?:\.\w+)+)")
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


def _check_address(key: str, text: str, version: int | None = None) -> None:
    """Raises ValueError."""
    kind = f"IPv{version} address" if version else "IP address"
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(f"{key} is {text!r}, which is no {kind}") from error
    if version not in (None, found.version):
        raise ValueError(f"{key} is {text!r}, which is no {kind}")


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything is kept. Without a name: an SQLite file in the data folder."""

    name: str = ""
    """The name of a PostgreSQL database; empty: SQLite."""
    host: str = ""
    """A host, or the folder of a Unix socket; empty: the machine's own socket."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    user: str = ""
    """Empty: the user that Mailward runs as."""
    password: str = ""
    tls: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    """Over TCP. The names are PostgreSQL's; a Unix socket has no TLS."""
    tls_ca: str = ""
    """A PEM file of who signs the server's certificate; empty: the authorities that the system trusts."""
    tls_certificate: str = ""
    """A PEM file of ours, where the server asks for one."""
    tls_key: str = ""
    statement_seconds: Positive = 60
    """A statement that takes longer fails; migrations may take their time."""
    lock_seconds: Positive = 10
    """The same for one that waits for others."""
    connections: Positive = 10
    """The most connections of each process."""

    def __post_init__(self) -> None:
        if not self.name and (self.host or self.user or self.password):
            raise ValueError("a PostgreSQL database needs its name")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls == "verify-ca" and not self.tls_ca:
            raise ValueError("verify-ca without tls_ca would trust everybody's certificate; name tls_ca")


class Console(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The web pages."""

    listen: str = "127.0.0.1"
    port: Port = 8000
    public_url: str = ""
    """How people reach the console; empty means http://<listen>:<port>. https:// turns on secure cookies."""


class PolicyHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTPS server of `mta-sts.<domain>`."""

    listen: str = "127.0.0.1"
    port: Port = 0
    """0 means 443 as root and 8443 otherwise."""
    public_name: str = "localhost"
    """What customers point `mta-sts.<domain>` at by CNAME."""
    nodes: tuple[str, ...] = ()
    """`address:port` of every server of our policies, asked before a new id is announced; empty: this one."""
    log_requests: bool = True
    """A line for each request; without them there are the counts of who fetched which policy."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of TCP proxies in front, which begin each connection with a PROXY header."""
    fronts: tuple[str, ...] = ()
    """Addresses or networks of HTTPS servers in front (Caddy), which ask us by plain HTTP; empty: that is off."""
    front_listen: str = "127.0.0.1"
    front_port: Port = 8081
    """Where the fronts ask."""
    keep_fetches_days: Annotated[int, msgspec.Meta(ge=30)] = 400
    """How long the counts of who fetched which policy are kept."""

    def __post_init__(self) -> None:
        for text in self.nodes:
            try:
                parse_place(text, 443)
            except ValueError as error:
                raise ValueError(f"nodes: {error}") from error
        for key, networks in (("proxies", self.proxies), ("fronts", self.fronts)):
            for text in networks:
                try:
                    ip_network(text, strict=False)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from error


class Nameserver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The authoritative nameserver for what customers delegate to us by CNAME."""

    zone: str = ""
    """The zone that it serves, delegated to it by its parent; empty: there is no nameserver."""
    listen: tuple[str, ...] = ("127.0.0.1",)
    port: Port = 0
    """0 means 53 as root and 5300 otherwise."""
    servers: tuple[str, ...] = ()
    """The NS records: `name`, or `name=address,address` for names inside the zone."""
    contact: str = ""
    """A mail address for the SOA record; empty means hostmaster@<zone>."""
    policy_addresses: tuple[str, ...] = ()
    """Addresses of the policy host, for `mta-sts`; empty: a CNAME to policy_host.public_name."""
    ttl_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    secondaries: tuple[str, ...] = ()
    """`address` or `address:port` of servers that are told of changes (NOTIFY)."""
    transfer_networks: tuple[str, ...] = ()
    """Who may have the whole zone without a key."""
    transfer_keys: tuple[str, ...] = ()
    """TSIG keys, `name:algorithm:secret`; who signs with one may have the whole zone. The first signs NOTIFY."""
    replies_per_second: Annotated[int, msgspec.Meta(ge=0)] = 20
    """About one name to one network; 0: no limit."""
    replies_per_second_an_address: Annotated[int, msgspec.Meta(ge=0)] = 5_000
    """Whatever they are about; 0: no limit."""

    @property
    def server_names(self) -> tuple[str, ...]:
        """Of the NS records."""
        if not self.zone:
            return ()
        return tuple(text.partition("=")[0] for text in self.servers) or (f"ns1.{self.zone}",)


class Certificates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where certificates of hosted names come from."""

    directory: str = ""
    """A folder of PEM files (certificate chain and key in one `NAME.pem`) that the operator keeps."""
    development_ca: bool = True
    """Issue missing certificates from a local authority made on first start. Nobody but you trusts it. Off where
    certificates are ordered (`acme.directories`).
    """


class Reports(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The doors for TLS reports."""

    domain: str = "reports.localhost"
    """The domain of the report addresses: `<token>@<domain>`."""
    smtp_listen: str = "127.0.0.1"
    smtp_port: Port = 0
    """0 means 25 as root and 2525 otherwise."""
    https_listen: str = "127.0.0.1"
    https_port: Port = 0
    """0 means 8444; behind a TLS front this is where it connects."""
    https_name: str = ""
    """The host name of the HTTPS door; empty means `reports.domain`."""
    max_message_bytes: Positive = 10 * 1024 * 1024
    max_inflated_bytes: Positive = 25 * 1024 * 1024
    authserv_ids: tuple[str, ...] = ()
    """Authentication-Results with one of these authserv-ids (RFC 8601), of a relay of ours, are believed."""
    relays: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses or networks of those relays: what comes from elsewhere was never seen by them."""


class Dns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How Mailward asks DNS."""

    resolvers: tuple[str, ...] = ()
    """`address` or `address:port`; empty means those of /etc/resolv.conf."""
    authoritative_override: tuple[str, ...] = ()
    """Ask these instead of a zone's own servers (split DNS, tests)."""
    allow_private_addresses: bool = False
    """Let policy fetches and probes connect to private and loopback addresses."""
    own_addresses: tuple[str, ...] = ()
    """More addresses of this machine, such as the public one in front of address translation."""
    allow_own_addresses: bool = False
    """Let probes connect to this machine's own public addresses: where an MX host of a domain runs on it."""

    def __post_init__(self) -> None:
        for text in (*self.resolvers, *self.authoritative_override):
            parse_place(text, 53)
        for text in self.own_addresses:
            _check_address("own_addresses", text)


class Relay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mail relay for what Mailward tells people."""

    host: str = ""
    """Empty: no relay; nobody is told anything by mail, and the console says so."""
    port: Port = 25
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` (required), `tls` (from the first byte) or `none`."""
    username: str = ""
    password: str = ""
    sender: str = "mailward@localhost"


class Problems(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When failures in verified reports become a problem that people hear of."""

    min_reporters: Positive = 2
    min_sessions: Positive = 10
    min_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.0
    window_days: Positive = 7
    settle_minutes: Annotated[int, msgspec.Meta(ge=0)] = 10
    """How long a new problem gathers domains before people are told: one mail for all of them."""


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How domains are looked at from outside, again and again."""

    enabled: bool = True
    from_here: bool = True
    """Whether this machine's worker looks at domains; off where another node on the same database does."""
    minutes: Positive = 60
    """How often each domain's DNS and policy host are looked at, give or take a tenth."""
    smtp_hours: Positive = 24
    """How often each address of an MX host is spoken to, for all domains together."""
    trouble_minutes: Positive = 60
    """The same while a problem is open there."""
    confirm_minutes: Annotated[int, msgspec.Meta(ge=0)] = 5
    """What is new is looked at once more after so long, before anybody is told."""
    deep_days: Annotated[int, msgspec.Meta(ge=0)] = 7
    """How often TLS versions and slipped-in commands are tried, at MX hosts of proved domains; 0: never."""
    certificate_days: Positive = 14
    """So long before a certificate ends it is a problem, where less than a third of its life is left too."""
    probes_per_hour: Positive = 30
    """The most connections to one MX address, whoever asks."""
    deep_probes_per_hour: Positive = 220
    """The same where cipher suites are asked for, at MX hosts of proved domains."""
    fetches_per_hour: Positive = 3600
    """The most connections to one address of policy hosts and report targets, whoever asks."""
    asks_per_hour: Positive = 20
    """So many checks one person may ask for."""
    ehlo_name: str = ""
    """Our name in EHLO; empty: the machine's."""
    source_v4: str = ""
    """The address that we connect to MX hosts from; empty: the system chooses."""
    source_v6: str = ""
    contact_url: str = ""
    """Where strangers read who looks at them: told to policy hosts."""
    keep_days: Positive = 400
    """How long what was is kept."""
    keep_changes: Positive = 200
    """So many states of one domain are kept."""
    clock_domains: tuple[str, ...] = ()
    """Domains whose policy hosts tell us what time it is there, to notice a clock of ours that is wrong."""
    ca_file: str = ""
    """Certificate authorities (PEM) that senders trust; empty: the system's."""
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    """Of MX hosts; another one only in laboratories."""
    https_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    """Of policy hosts; another one only in laboratories."""

    def __post_init__(self) -> None:
        for key, version in (("source_v4", 4), ("source_v6", 6)):
            if text := getattr(self, key):
                _check_address(key, text, version)


class Follow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Policies that follow the MX records, where a domain's people switched that on."""

    wait_hours: Positive = 24
    """So long people may object, after all servers agreed and before the policy changes."""


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
    recheck_seconds: Positive = 300
    """How often the record of a domain that gets mail is looked at again."""
    policy_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    """Of policy hosts; another one only in laboratories."""
    ca_file: str = ""
    """Certificate authorities (PEM) for policy hosts; empty: the system's."""
    metrics_listen: str = "127.0.0.1:8462"
    """`address:port` of /metrics and /healthz; empty: none."""
    log_format: Literal["text", "json"] = "text"
    notice_minutes: Positive = 5
    """How often Postfix's queue and failing refreshes are looked at."""
    queue_command: tuple[str, ...] = ("postqueue", "-j")
    """What prints the queue; empty: it is not looked at."""
    notice_mail: tuple[str, ...] = ()
    """Addresses that are told of mail that waits because of policy."""
    notice_mail_command: tuple[str, ...] = ("/usr/sbin/sendmail", "-i", "--")
    """Takes the mail on standard input; the addresses are added."""
    notice_webhook: Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$")] = ""
    """A URL that gets the same as JSON."""

    def __post_init__(self) -> None:
        if self.metrics_listen:
            parse_place(self.metrics_listen)


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
    journal_command: tuple[str, ...] = ("journalctl",)
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
    keep_days: Annotated[int, msgspec.Meta(ge=2)] = 30
    """How long reports and what became of them are kept."""
    give_up_days: Annotated[int, msgspec.Meta(ge=1)] = 7
    """A report that has waited for so long is not sent any more."""
    keep_counts_days: Annotated[int, msgspec.Meta(ge=1)] = 3
    """How long counts are kept after their day: for people who ask."""
    dkim_selectors: tuple[str, ...] = ()
    """Keys that sign report mail, made by `mailward sender key`; empty: the mail server signs."""
    envelope_sender: str = ""
    """Where report mail that cannot be delivered comes back; `*` becomes the delivery's token. Empty: `contact`."""
    sendmail_command: tuple[str, ...] = ("/usr/sbin/sendmail", "-i")
    """Takes report mail on standard input; `-f SENDER -- RECIPIENT` is added."""
    smtp_host: str = ""
    """Instead of the command: a mail server that takes report mail by SMTP."""
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    mails_per_hour: Positive = 10_000
    warm_up_mails_per_hour: Annotated[int, msgspec.Meta(ge=0)] = 200
    """So many on the first day, twice as many on each further one until `mails_per_hour`; 0: no warm-up."""
    https_certificate: Literal["require", "any"] = "require"
    """Of web servers that take reports; RFC 8460 allows to ignore what is wrong with it."""
    suppress_after_days: Positive = 5
    """So many days on which all comes back: nothing is sent there ..."""
    suppress_days: Positive = 30
    """... for so many days."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    data: str = "var"
    """The folder of the database (where it is SQLite), keys and certificates."""
    key: str = ""
    """What seals private keys in the database: 32 octets in base64, or several such keys apart by blanks, of which the
    first seals and all open. Empty: `<data>/key`, made on first start."""
    database: Database = Database()
    console: Console = Console()
    policy_host: PolicyHost = PolicyHost()
    nameserver: Nameserver = Nameserver()
    certificates: Certificates = Certificates()
    acme: Acme = Acme()
    reports: Reports = Reports()
    dns: Dns = Dns()
    relay: Relay = Relay()
    problems: Problems = Problems()
    watch: Watch = Watch()
    follow: Follow = Follow()
    rollout: Conditions = Conditions()
    sender: Sender = Sender()
    tlsrpt: Tlsrpt = Tlsrpt()

    @property
    def data_path(self) -> Path:
        return Path(self.data).absolute()

    @property
    def sqlite_path(self) -> Path:
        """The database, where it is not in PostgreSQL."""
        return self.data_path / "mailward.sqlite3"

    @property
    def sender_cache_path(self) -> Path:
        return Path(self.sender.cache).absolute() if self.sender.cache else self.data_path / "sender.sqlite3"

    @property
    def sender_shadow_path(self) -> Path:
        file = self.sender.shadow_file
        return Path(file).absolute() if file else self.data_path / "sender-shadow.sqlite3"

    @property
    def tlsrpt_counts_path(self) -> Path:
        file = self.tlsrpt.counts
        return Path(file).absolute() if file else self.data_path / "sender-tlsrpt.sqlite3"

    @property
    def tlsrpt_reports_path(self) -> Path:
        file = self.tlsrpt.reports
        return Path(file).absolute() if file else self.data_path / "sender-reports.sqlite3"

    @property
    def policy_port(self) -> int:
        return self.policy_host.port or (443 if os.geteuid() == 0 else 8443)

    @property
    def policy_nodes(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each server of our policies."""
        if self.policy_host.nodes:
            return tuple(parse_place(text, 443) for text in self.policy_host.nodes)
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "localhost": "127.0.0.1"}  # noqa: S104
        return ((anywhere.get(self.policy_host.listen, self.policy_host.listen), self.policy_port),)

    @property
    def has_development_ca(self) -> bool:
        """Where real certificates are ordered it would only hide that one is missing: from senders, and from whoever
        looks before a policy is announced.
        """
        return self.certificates.development_ca and not self.acme.directories

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names at which policy host and report doors show a certificate, each once, in lower case. Those alone
        that a CA may issue for: no address, and not `localhost`.
        """
        return public_names(self.policy_host.public_name, self.https_name, self.reports.domain)

    @property
    def needed_names(self) -> tuple[str, ...]:
        """Those of them that need a certificate: for report mail, the HTTPS door's does too."""
        return public_names(self.policy_host.public_name, self.https_name)

    @property
    def acme_port(self) -> int:
        return self.acme.http_port or (80 if os.geteuid() == 0 else 8080)

    @property
    def acme_listen(self) -> str:
        return self.acme.http_listen or self.policy_host.listen

    @property
    def nameserver_port(self) -> int:
        return self.nameserver.port or (53 if os.geteuid() == 0 else 5300)

    @property
    def smtp_port(self) -> int:
        return self.reports.smtp_port or (25 if os.geteuid() == 0 else 2525)

    @property
    def https_port(self) -> int:
        return self.reports.https_port or 8444

    @property
    def console_url(self) -> str:
        return self.console.public_url.rstrip("/") or f"http://{self.console.listen}:{self.console.port}"

    @property
    def https_name(self) -> str:
        return self.reports.https_name or self.reports.domain

    @property
    def https_authority(self) -> str:
        """Host and port of the HTTPS door as reporters see it. A name of its own means a TLS front on 443."""
        if self.reports.https_name or self.https_port == 443:
            return self.https_name
        return f"{self.https_name}:{self.https_port}"


class SettingsError(ValueError):
    """The settings cannot be used; the text names the file or variable, the key and the reason."""


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: str
) -> Settings:
    """Settings from `path` (optional), then the environment, then `overrides` of top-level keys.

    Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}  # TOML is untyped until msgspec has seen it
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from error
    _apply_environment(values, environ)
    values |= overrides
    try:
        # strict=False: the environment knows only text
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{_origin(str(error), path, environ)}: {error}{_choices(str(error))}") from error


def _origin(text: str, path: Path | None, environ: Mapping[str, str]) -> str:
    """Where the value comes from that msgspec complains of."""
    if found := _KEY.search(text):
        name = f"MAILWARD{found[1]}".replace(".", "_").upper()
        # of a whole table the complaint is ours, and begins with the key
        of_table = f"{name}_{text.partition(' ')[0].upper()}"
        for variable in (name, of_table):
            for source in (variable, f"{variable}_FILE"):
                if source in environ:
                    return source
    return str(path or "settings")


def _choices(text: str) -> str:
    """What would do instead, where only a few words do."""
    if not text.startswith("Invalid enum value") or not (found := _KEY.search(text)):
        return ""
    table, _, key = found[1].removeprefix(".").partition(".")
    kind = get_type_hints(get_type_hints(Settings)[table])[key]
    return f" (one of {', '.join(each or 'nothing' for each in get_args(kind))})"


def _apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            hints = get_type_hints(field.type)
            for key in msgspec.structs.fields(field.type):
                text = _from_environment(environ, f"MAILWARD_{field.name}_{key.name}".upper())
                if text is not None:
                    is_list = getattr(hints[key.name], "__origin__", None) is tuple
                    table = values.setdefault(field.name, {})
                    if not isinstance(table, dict):
                        raise SettingsError(f"settings: {field.name} is a table of keys, not a value")
                    table[key.name] = text.split() if is_list else text
        else:
            text = _from_environment(environ, f"MAILWARD_{field.name}".upper())
            if text is not None:
                values[field.name] = text


def _from_environment(environ: Mapping[str, str], name: str) -> str | None:
    if name in environ:
        return environ[name]
    if file := environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise SettingsError(f"{name}_FILE: {file}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE: {error}") from error
    return None
