"""Which addresses we may connect to when a stranger's DNS names them.

Whoever can choose a host name could otherwise make us talk to loopback, to a cloud's metadata service, to
machines of the operator's own network, or to this machine at its public address, where what listens may trust us.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from mailward import config

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OWN_ADDRESS = "an address of our own"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


class AddressRefused(Exception):
    """We do not connect there; the text names the address and the reason."""

    code = "address-refused"


class OwnAddressRefused(AddressRefused):
    """It is this machine: what it shows to itself would say nothing of what others see."""

    code = "own-address"


@dataclass(frozen=True, slots=True)
class Guard:
    allow_private: bool = False
    """For laboratories and split DNS: everything that is a unicast address passes."""
    forbid_own: bool = False
    """Whether the addresses of this machine are refused too. For probes: their targets come from strangers."""
    own: frozenset[str] = frozenset()
    """More addresses that are ours, such as one in front of address translation."""
    open_ports: frozenset[int] = frozenset()
    """Of our own addresses: where everybody is served, so that a stranger's DNS gains nothing by leading us there."""

    def check(self, address: str, port: int | None = None) -> None:
        """Raises AddressRefused unless the IP address is one that we may connect to, at this port."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError as error:
            raise AddressRefused(f"{address[:60]!r} is no IP address") from error
        for inner in _carried(parsed):
            reason = self._why_not(inner)
            if reason:
                raise AddressRefused(f"{address} is {reason}, which is not connected to")
        if (
            self.forbid_own
            and not self.allow_private
            and port not in self.open_ports
            and self.is_own(address)
        ):
            raise OwnAddressRefused(f"{address} is {OWN_ADDRESS}, which is not connected to")

    def allows(self, address: str, port: int | None = None) -> bool:
        try:
            self.check(address, port)
        except AddressRefused:
            return False
        return True

    def is_served_here(self, address: str, port: int) -> bool:
        """Whether it is we who serve everybody there: nobody else is bothered by looking."""
        return port in self.open_ports and self.is_own(address)

    def is_own(self, address: str) -> bool:
        """Whether the IP address leads to this machine, or is one of `own`."""
        carried = _carried(ipaddress.ip_address(address.partition("%")[0]))
        return any(str(each) in self.own or _is_here(each) for each in carried)

    def _why_not(self, address: _Address) -> str:
        if address.is_unspecified:
            return "the unspecified address"
        if address.is_multicast or str(address) == "255.255.255.255":
            return "a multicast or broadcast address"
        if self.allow_private:
            return ""
        if address.is_loopback:
            return "a loopback address"
        if address.is_link_local:
            return "a link-local address"
        site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
        if not address.is_global or address.is_reserved or site_local:
            return "a private or reserved address"
        return ""


def make_guard(settings: config.Dns) -> Guard:
    return Guard(allow_private=settings.allow_private_addresses)


def make_probe_guard(settings: config.Settings) -> Guard:
    """For what looks at the domains of strangers: not at ourselves, but where our policies and doors are."""
    ports = {443, settings.watch.https_port, settings.policy_port, settings.https_port}
    return Guard(
        allow_private=settings.dns.allow_private_addresses,
        forbid_own=not settings.dns.allow_own_addresses,
        own=frozenset(_own_addresses(settings)),
        open_ports=frozenset(ports | {port for _, port in settings.policy_nodes}),
    )


def _own_addresses(settings: config.Settings) -> Iterator[str]:
    """Those that the settings name, as ipaddress writes them; that no interface may have, behind translation."""
    listening = (
        settings.nameserver_places,
        settings.console_places,
        settings.policy_places,
        settings.smtp_places,
        settings.https_places,
    )
    texts = [
        *settings.dns.own_addresses,
        *settings.nameserver.policy_addresses,
        *(address for server in settings.nameserver.ns_records for address in server.addresses),
        *(address for address, _ in settings.policy_nodes),
        *(host for places in listening for host, _ in places),
        settings.watch.source_v4,
        settings.watch.source_v6,
    ]
    for text in texts:
        with contextlib.suppress(ValueError):  # a name, or nothing
            yield str(ipaddress.ip_address(text.strip()))


def _is_here(address: _Address) -> bool:
    """Whether the address is one of this machine's interfaces: the kernel then gives packets to it the same source.
    None is sent.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((str(address), 9))
            return str(ipaddress.ip_address(way.getsockname()[0])) == str(address)
    except OSError:  # no way there from here
        return False


def _carried(address: _Address) -> list[_Address]:
    """The addresses that packets may really go to: an IPv6 address can carry an IPv4 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        # by what it carries alone: whether the block itself is global, Python versions disagree
        return [address.sixtofour]
    return [address]
