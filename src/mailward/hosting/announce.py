"""Before the id of a new policy is told: does every policy host serve it?

RFC 8461 section 8.1: the policy first, then the record; a sender that sees the new id and fetches the old body
keeps that, under the new id, until it ends.
"""

import asyncio
from pathlib import Path

from mailward.config import Settings
from mailward.core.names import Domain
from mailward.core.places import Place, show_place
from mailward.hosting.fronts import Fronts, Look
from mailward.net.certificates import authority_folder
from mailward.net.fetch import FetchError, fetch_policy_at
from mailward.net.guard import Guard, make_probe_guard
from mailward.net.resolver import Answer, Resolver, make_resolver
from mailward.net.ways import has_way

_FETCH_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
"""In front: two of TCP's repetitions, and a handshake."""
_MAX_IN_FRONT = 8


async def look_at_hosts(settings: Settings, domain: Domain, text: str) -> dict[str, str]:
    """`address:port` of each of the settings' policy hosts -> why it does not serve this very body, with a certificate
    that senders accept (or our development authority's, where that is on); empty: it does.
    """
    # our own hosts: the operator named them, wherever they are
    guard = Guard(allow_private=True)
    nodes = settings.policy_nodes
    looks = await asyncio.gather(
        *(_look_at(settings, domain, text, node, guard, _FETCH_SECONDS) for node in nodes)
    )
    return {show_place(node): look.reason for node, look in zip(nodes, looks, strict=True)}


async def look_in_front(
    settings: Settings, domain: Domain, text: str, fronts: Fronts, *, is_certain: bool = True
) -> dict[str, str]:
    """The same of each address that `mta-sts.<domain>` has in DNS, where another server is in front of ours: one that
    caches may serve the policy of before for a while. Addresses that this machine has no way to are left out, where it
    has one to others. `is_certain`: whether there is such a server; otherwise DNS has to say so now.
    """
    host, port, resolver = f"mta-sts.{domain}", settings.watch.https_port, make_resolver(settings.dns)
    found = await resolver.addresses(host)
    if not is_certain and not await _leads_elsewhere(settings, resolver, found):
        return {}
    if not found.found:
        return {host: found.reason or "it has no address"}
    guard = make_probe_guard(settings)
    addresses = [each for each in found.records if has_way(each)][:_MAX_IN_FRONT] or found.records[:1]

    async def ask(address: str) -> str:
        place = (address, port)
        return await fronts.ask(
            address, lambda: _look_at(settings, domain, text, place, guard, _CONNECT_SECONDS)
        )

    reasons = await asyncio.gather(*(ask(address) for address in addresses))
    return {f"{host} at {address}": reason for address, reason in zip(addresses, reasons, strict=True)}


async def _leads_elsewhere(settings: Settings, resolver: Resolver, found: Answer[str]) -> bool:
    ours = await resolver.addresses(settings.policy_host.public_name)
    own = {*ours.records, *settings.nameserver.policy_addresses}
    return found.found and ours.found and own.isdisjoint(found.records)


async def _look_at(
    settings: Settings, domain: Domain, text: str, place: Place, guard: Guard, connect_seconds: float
) -> Look:
    address, port = place
    authorities: list[Path | None] = [None]
    if settings.has_development_ca:
        authorities.insert(0, authority_folder(settings) / "ca.pem")
    failure: FetchError | None = None
    for ca_file in authorities:
        try:
            result = await fetch_policy_at(
                domain,
                address,
                guard=guard,
                ca_file=ca_file,
                port=port,
                connect_seconds=connect_seconds,
                total_seconds=_FETCH_SECONDS,
            )
        except FetchError as error:
            failure = failure or error
            if not error.is_connected:
                break
            continue
        return Look("" if result.body == text.encode() else "it serves another policy")
    return Look(str(failure), is_connected=failure is None or failure.is_connected)
