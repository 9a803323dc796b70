"""Where the services listen, and where the world looks for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import ip_address, ip_network

from mailward.config import Settings
from mailward.core.acme.settings import public_names
from mailward.core.places import reach, show_place


class Talk(Enum):
    """What is spoken there."""

    HTTPS = auto()
    CHALLENGE = auto()
    """Plain HTTP, with an answer that only we know."""
    SMTP = auto()
    DNS = auto()
    HTTP = auto()


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    talk: Talk
    setting: str
    """That says where it listens."""
    port_setting: str
    listen: tuple[tuple[str, int], ...]
    host: str
    """The name that it has a certificate for."""
    names: tuple[str, ...] = ()
    """Under which the world comes; none: it does not."""
    port: int = 0
    """At which the world comes."""
    has_front: bool = False
    """Somebody else answers in front."""
    proxies: tuple[str, ...] = ()
    """Networks whose connections have to begin with a PROXY header."""

    def wants_header(self, address: str) -> bool:
        """Of a connection from this machine to that address of its own, which comes from there too."""
        return any(ip_address(address) in ip_network(text, strict=False) for text in self.proxies)


def nearby(address: str) -> str:
    """Where this machine reaches what listens there."""
    return reach(address)


def shown(address: str, port: int) -> str:
    return show_place((address, port))


def services(settings: Settings, mx_hosts: Sequence[str] = ()) -> Iterator[Service]:
    """Those that are switched on. `mx_hosts`: of the domain for reports."""
    policy, reports, own = settings.policy_host, settings.reports, settings.nameserver
    yield Service(
        "policy host",
        Talk.HTTPS,
        "policy_host.listen",
        "policy_host.port",
        settings.policy_places,
        policy.public_name,
        public_names(policy.public_name),
        settings.watch.https_port,
        bool(policy.fronts),
        policy.proxies,
    )
    if policy.fronts:
        yield Service(
            "for fronts",
            Talk.HTTP,
            "policy_host.front_listen",
            "policy_host.front_port",
            settings.front_places,
            policy.public_name,
        )
    if settings.acme.directories:
        yield Service(
            "answers to CAs",
            Talk.CHALLENGE,
            "acme.http_listen",
            "acme.http_port",
            settings.acme_places,
            policy.public_name,
            settings.own_names,
            settings.acme.reach_port,
            proxies=settings.acme.http_proxies,
        )
    yield Service(
        "report mail",
        Talk.SMTP,
        "reports.smtp_listen",
        "reports.smtp_port",
        settings.smtp_places,
        reports.domain,
        tuple(mx_hosts),
        settings.watch.smtp_port,
        proxies=reports.smtp_proxies,
    )
    port = settings.https_authority.rpartition(":")[2]
    yield Service(
        "report POST",
        Talk.HTTPS,
        "reports.https_listen",
        "reports.https_port",
        settings.https_places,
        settings.https_name,
        public_names(settings.https_name),
        int(port) if port.isdecimal() else 443,
        bool(reports.https_name),
        reports.https_proxies,
    )
    if own.zone:
        # at the world's side, delegation is looked at by itself
        yield Service(
            "nameserver",
            Talk.DNS,
            "nameserver.listen",
            "nameserver.port",
            settings.nameserver_places,
            own.zone,
        )
    yield Service(
        "console",
        Talk.HTTP,
        "console.listen",
        "console.port",
        settings.console_places,
        "localhost",
    )
