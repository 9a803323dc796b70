"""How we introduce ourselves to MX hosts: a name that leads to the address they see, and back, or some turn us away."""

import ipaddress
import socket

from mailward.config import Settings
from mailward.net.mailer import own_name
from mailward.net.resolver import Resolver, Status

# packets of a connected UDP socket would go there; none is sent
_SOMEWHERE = {socket.AF_INET: "198.41.0.4", socket.AF_INET6: "2001:503:ba3e::2:30"}


async def find_trouble(settings: Settings, resolver: Resolver) -> str:
    """What is wrong with our name in EHLO; empty: nothing that can be seen from here."""
    watch = settings.watch
    name = (watch.ehlo_name or own_name()).lower()
    if name.startswith("["):
        return "This machine has no name to give in EHLO: set ehlo_name in [watch]."
    known = await resolver.addresses(name)
    if known.status is Status.FAILED:
        return ""  # nothing was found out
    if not known.found:
        return f"{name}, our name in EHLO, has no address in the DNS."
    for family, chosen in ((socket.AF_INET, watch.source_v4), (socket.AF_INET6, watch.source_v6)):
        source = chosen or own_address(family)
        # behind address translation nobody sees it, and we do not see what they do
        if not source or not ipaddress.ip_address(source).is_global:
            continue
        if source not in known.records:
            return f"{name}, our name in EHLO, does not lead to {source}, from where we connect."
        back = await resolver.lookup(ipaddress.ip_address(source).reverse_pointer, "PTR")
        if name not in (record.lower().removesuffix(".") for record in back.records):
            return f"{source}, from where we connect, has no PTR record that names {name}."
    return ""


def own_address(family: socket.AddressFamily) -> str:
    """From where the system would connect to the Internet; empty: it has no way there."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_SOMEWHERE[family], 53))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
