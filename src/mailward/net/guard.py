"""Which addresses we may connect to when a stranger's DNS names them.

Whoever can choose a host name could otherwise make us talk to loopback, to a cloud's metadata service or to
machines of the operator's own network.
"""

import ipaddress
from dataclasses import dataclass

from mailward import config

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


class AddressRefused(Exception):
    """We do not connect there; the text names the address and the reason."""

    code = "address-refused"


@dataclass(frozen=True, slots=True)
class Guard:
    allow_private: bool = False
    """For laboratories and split DNS: everything that is a unicast address passes."""

    def check(self, address: str) -> None:
        """Raises AddressRefused unless the IP address is one that we may connect to."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError as error:
            raise AddressRefused(f"{address[:60]!r} is no IP address") from error
        for inner in _carried(parsed):
            reason = self._why_not(inner)
            if reason:
                raise AddressRefused(f"{address} is {reason}, which is not connected to")

    def allows(self, address: str) -> bool:
        try:
            self.check(address)
        except AddressRefused:
            return False
        return True

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
