"""Whether this machine has a way to an address at all: a machine with one address family has none to the other.

Nothing is sent, and nobody is heard: only what this machine knows of itself counts. Whoever can make packets vanish, or
forge ICMP errors, cannot make an address look as if there were no way to it.
"""

import errno
import ipaddress
import socket

_NO_WAY = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
)
_ANY_PORT = 53


def has_way(address: str) -> bool:
    """False: no route, or no address of our own that could be written to from there. `address`: an IP address."""
    is_six = ":" in address
    try:
        with socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # of a datagram socket: the kernel looks for a route and a source address, and sends nothing
            probe.connect((address, _ANY_PORT))
            own = str(probe.getsockname()[0])
    except OSError as error:
        return error.errno not in _NO_WAY
    # RFC 4291 §2.5.6: no router hands on what comes from a link-local address
    return not is_six or _is_link_local(address) or not _is_link_local(own)


def name_family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_link_local
