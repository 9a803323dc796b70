"""The tables of the platform: where it listens, keeps things, asks and sends."""

from email.utils import parseaddr
from typing import Annotated, Literal

import msgspec

from mailward.config.values import (
    MAX_DAYS,
    Count,
    Listen,
    Port,
    Positive,
    Seconds,
    check_address,
    check_each,
    keep_each,
    keep_name,
)
from mailward.core.addresses import parse_address
from mailward.core.agekeys import MAX_RECIPIENTS, parse_recipient
from mailward.core.dns.nameserver import (
    Server,
    parse_contact,
    parse_secondary,
    parse_server,
    parse_transfer_key,
    plain_key_name,
)
from mailward.core.places import check_host, check_listen, check_networks, check_url, parse_place, plain_url


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything is kept. Without a name: an SQLite file in the data folder."""

    name: str = ""
    """The name of a PostgreSQL database; empty: SQLite."""
    host: str = ""
    """A host, or the folder of a Unix socket; empty: the machine's own socket."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    direct_host: str = ""
    """Where the server itself is, if `host` is a pooler in transaction mode: LISTEN, changes of the tables and
    backups go there. Empty: `host` is the server, or a pooler in session mode.
    """
    direct_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
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
    statement_seconds: Seconds = 60
    """A statement that takes longer fails; migrations may take their time."""
    lock_seconds: Seconds = 10
    """The same for one that waits for others."""
    connections: Positive = 10
    """The most connections of each process."""

    def __post_init__(self) -> None:
        if not self.name and (self.host or self.direct_host or self.user or self.password):
            raise ValueError("a PostgreSQL database needs its name")
        for key in ("host", "direct_host"):
            check_each(key, getattr(self, key), _check_server)
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls == "verify-ca" and not self.tls_ca:
            raise ValueError("verify-ca without tls_ca would trust everybody's certificate; name tls_ca")

    @property
    def server(self) -> tuple[str, int]:
        """Host and port of the server itself."""
        return (self.direct_host, self.direct_port) if self.direct_host else (self.host, self.port)

    @property
    def is_local(self) -> bool:
        """Whether the server is asked by a Unix socket, which tells it who asks."""
        return not self.server[0] or self.server[0].startswith("/")

    def tls_options(self) -> dict[str, str]:
        """As libpq names them."""
        if self.tls == "disable":
            return {"sslmode": "disable"}
        options: dict[str, str] = {"sslmode": self.tls}
        if self.tls_ca:
            options["sslrootcert"] = self.tls_ca
        elif self.tls == "verify-full":
            options["sslrootcert"] = "system"
        if self.tls_certificate:
            options |= {"sslcert": self.tls_certificate, "sslkey": self.tls_key}
        return options


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where backups go, and who may open them."""

    folder: str = ""
    """Where `mailward backup` without a file puts them; empty means `<data>/backups`."""
    keep: Positive = 7
    """So many are kept there; the oldest go."""
    recipients: tuple[str, ...] = ()
    """Keys (`age1...`) that backups are sealed for; empty: they are not sealed."""
    passphrase_file: str = ""
    """A file whose first line is the passphrase that seals them, instead of recipients."""
    before_migrations: bool = True
    """Whether a backup is made before a new release changes the tables; off where the operator makes one himself."""
    keep_before_migrations: Positive = 3
    """So many of those are kept."""

    def __post_init__(self) -> None:
        if self.passphrase_file and self.recipients:
            raise ValueError("passphrase_file and recipients are both set; a backup is sealed by one of them")
        if len(self.recipients) > MAX_RECIPIENTS:
            raise ValueError(f"recipients are {MAX_RECIPIENTS} at most")
        check_each("recipients", self.recipients, parse_recipient)


class Console(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The web pages."""

    listen: Listen = ("127.0.0.1",)
    port: Port = 8000
    public_url: str = ""
    """How people reach the console; empty means http://<listen>:<port>. https:// turns on secure cookies."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of web servers in front, whose X-Forwarded-For is believed; empty: nobody's."""

    def __post_init__(self) -> None:
        check_listen("listen", self.listen)
        check_networks("proxies", self.proxies)
        keep_each(self, "public_url", _parse_console)


class PolicyHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTPS server of `mta-sts.<domain>`."""

    listen: Listen = ("127.0.0.1",)
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
    front_listen: Listen = ("127.0.0.1",)
    front_port: Port = 8081
    """Where the fronts ask."""
    keep_fetches_days: Annotated[int, msgspec.Meta(ge=30, le=MAX_DAYS)] = 400
    """How long the counts of who fetched which policy are kept."""

    def __post_init__(self) -> None:
        keep_name(self, "public_name")
        if not self.public_name:
            raise ValueError("public_name is empty: domains are led to it by CNAME")
        check_each("nodes", self.nodes, lambda text: parse_place(text, 443))
        check_listen("listen", self.listen)
        check_listen("front_listen", self.front_listen)
        check_networks("proxies", self.proxies)
        check_networks("fronts", self.fronts)


class Nameserver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The authoritative nameserver for what customers delegate to us by CNAME."""

    zone: str = ""
    """The zone that it serves, delegated to it by its parent; empty: there is no nameserver."""
    listen: Listen = ("127.0.0.1",)
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
    """`address` or `address:port` of servers that are told of changes (NOTIFY); `=key` behind it names the transfer
    key that signs that.
    """
    transfer_networks: tuple[str, ...] = ()
    """Who may have the whole zone without a key."""
    transfer_keys: tuple[str, ...] = ()
    """TSIG keys, `name:algorithm:secret`; who signs with one may have the whole zone. The first signs NOTIFY to
    secondaries without one of their own.
    """
    replies_per_second: Count = 20
    """About one name to one network; 0: no limit."""
    replies_per_second_an_address: Count = 5_000
    """Whatever they are about; 0: no limit."""

    catalog: bool = False
    """Whether secondaries learn of the zones `mta-sts.<domain>` by themselves (RFC 9432)."""

    def __post_init__(self) -> None:
        keep_name(self, "zone")
        if self.catalog and not (self.transfer_keys and self.policy_addresses):
            raise ValueError("catalog needs transfer_keys, by which it is signed, and policy_addresses")
        check_listen("listen", self.listen)
        check_each("servers", self.servers, lambda text: parse_server(text, self.zone))
        keep_each(self, "contact", parse_contact)
        for text in self.policy_addresses:
            check_address("policy_addresses", text)
        check_networks("transfer_networks", self.transfer_networks)
        check_each("transfer_keys", self.transfer_keys, parse_transfer_key)
        check_each("secondaries", self.secondaries, self._check_secondary)

    def _check_secondary(self, text: str) -> None:
        key = parse_secondary(text).key
        if key and key not in {plain_key_name(parse_transfer_key(each).name) for each in self.transfer_keys}:
            raise ValueError(f"no key of transfer_keys is called {key[:100]}")

    @property
    def ns_records(self) -> tuple[Server, ...]:
        """Empty where no zone is served."""
        if not self.zone:
            return ()
        return tuple(parse_server(text, self.zone) for text in self.servers) or (Server(f"ns1.{self.zone}"),)

    @property
    def server_names(self) -> tuple[str, ...]:
        """Of the NS records."""
        return tuple(server.name for server in self.ns_records)


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
    smtp_listen: Listen = ("127.0.0.1",)
    smtp_port: Port = 0
    """0 means 25 as root and 2525 otherwise."""
    https_listen: Listen = ("127.0.0.1",)
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
    smtp_proxies: tuple[str, ...] = ()
    """Addresses or networks of TCP proxies in front of the mail door, which begin with a PROXY header."""
    https_proxies: tuple[str, ...] = ()
    """The same, in front of the HTTPS door."""

    def __post_init__(self) -> None:
        keep_name(self, "domain")
        if not self.domain:
            raise ValueError("domain is empty: the addresses that reports go to are in it")
        keep_name(self, "https_name")
        check_listen("smtp_listen", self.smtp_listen)
        check_listen("https_listen", self.https_listen)
        check_networks("relays", self.relays)
        check_networks("smtp_proxies", self.smtp_proxies)
        check_networks("https_proxies", self.https_proxies)


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
    update_ports: tuple[Annotated[int, msgspec.Meta(ge=1, le=65535)], ...] = (53,)
    """Where people's own DNS servers may take updates (RFC 2136): people name the address."""

    def __post_init__(self) -> None:
        check_each("resolvers", self.resolvers, lambda text: parse_place(text, 53))
        check_each("authoritative_override", self.authoritative_override, lambda text: parse_place(text, 53))
        for text in self.own_addresses:
            check_address("own_addresses", text)


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

    def __post_init__(self) -> None:
        check_each("host", self.host, check_host)
        if not self.sender:
            raise ValueError("sender is empty: it is the From of what Mailward sends")
        keep_each(self, "sender", _parse_sender)


def _check_server(text: str) -> None:
    """A folder (or a name without one, `@...`), or hosts apart by commas, as libpq takes them."""
    if not text.startswith(("/", "@")):
        for host in text.split(","):
            check_host(host)


def _parse_sender(text: str) -> str:
    """An address, with a name before it or without."""
    address = parseaddr(text)[1] or text
    return text.replace(address, parse_address(address))


def _parse_console(text: str) -> str:
    """As browsers name it in Host and Origin, which are compared with it."""
    check_url(text, "https", "http")
    if "?" in text or "#" in text:
        raise ValueError(f"{text[:100]!r} is no URL that paths can be added to")
    return plain_url(text)
