"""Addresses and networks that a setting names."""

import ipaddress
from collections.abc import Sequence


class Networks:
    """Machines whose word is believed, such as fronts. Raises ValueError for what is no address or network."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]

    def include(self, host: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
