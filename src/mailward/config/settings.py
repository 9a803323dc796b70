"""All settings, and what follows from several of them."""

import os
from pathlib import Path

import msgspec

from mailward.config.observing import Log, Metrics, Tracing
from mailward.config.sending import Sender, Tlsrpt
from mailward.config.serving import (
    Backup,
    Certificates,
    Console,
    Database,
    Dns,
    Nameserver,
    PolicyHost,
    Relay,
    Reports,
)
from mailward.config.watching import Doctor, Follow, Problems, Watch
from mailward.core.acme.settings import Acme, public_names
from mailward.core.places import Place, parse_listen, parse_place, reach, show_place
from mailward.core.rollout.conditions import Conditions


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    data: str = "var"
    """The folder of the database (where it is SQLite), keys and certificates."""
    key: str = ""
    """What seals private keys in the database: 32 octets in base64, or several such keys apart by blanks, of which the
    first seals and all open. Empty: `<data>/key`, made on first start."""
    database: Database = Database()
    backup: Backup = Backup()
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
    doctor: Doctor = Doctor()
    rollout: Conditions = Conditions()
    log: Log = Log()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
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
    def backup_path(self) -> Path:
        """The folder of backups."""
        return Path(self.backup.folder).absolute() if self.backup.folder else self.data_path / "backups"

    @property
    def sender_log_format(self) -> str:
        return self.sender.log_format or self.log.format

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
    def policy_places(self) -> tuple[Place, ...]:
        return _places(self.policy_host.listen, self.policy_host.port or (443 if os.geteuid() == 0 else 8443))

    @property
    def policy_port(self) -> int:
        return self.policy_places[0][1]

    @property
    def front_places(self) -> tuple[Place, ...]:
        return _places(self.policy_host.front_listen, self.policy_host.front_port)

    @property
    def policy_nodes(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each server of our policies."""
        if self.policy_host.nodes:
            return tuple(parse_place(text, 443) for text in self.policy_host.nodes)
        host, port = self.policy_places[0]
        return ((reach(host), port),)

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
    def acme_places(self) -> tuple[Place, ...]:
        port = self.acme.http_port or (80 if os.geteuid() == 0 else 8080)
        if self.acme.http_listen:
            return _places(self.acme.http_listen, port)
        return tuple(dict.fromkeys((host, port) for host, _ in self.policy_places))

    @property
    def nameserver_places(self) -> tuple[Place, ...]:
        return _places(self.nameserver.listen, self.nameserver.port or (53 if os.geteuid() == 0 else 5300))

    @property
    def smtp_places(self) -> tuple[Place, ...]:
        return _places(
            self.reports.smtp_listen, self.reports.smtp_port or (25 if os.geteuid() == 0 else 2525)
        )

    @property
    def smtp_port(self) -> int:
        return self.smtp_places[0][1]

    @property
    def https_places(self) -> tuple[Place, ...]:
        return _places(self.reports.https_listen, self.reports.https_port or 8444)

    @property
    def https_port(self) -> int:
        return self.https_places[0][1]

    @property
    def console_places(self) -> tuple[Place, ...]:
        return _places(self.console.listen, self.console.port)

    @property
    def console_url(self) -> str:
        return self.console.public_url.rstrip("/") or f"http://{show_place(self.console_places[0])}"

    @property
    def https_name(self) -> str:
        return self.reports.https_name or self.reports.domain

    @property
    def https_authority(self) -> str:
        """Host and port of the HTTPS door as reporters see it. A name of its own means a TLS front on 443."""
        if self.reports.https_name or self.https_port == 443:
            return self.https_name
        return f"{self.https_name}:{self.https_port}"


def _places(addresses: tuple[str, ...], port: int) -> tuple[Place, ...]:
    return tuple(dict.fromkeys(parse_listen(text, port) for text in addresses))
