"""Before the id of a new policy is told: does every policy host serve it?

RFC 8461 section 8.1: the policy first, then the record; a sender that sees the new id and fetches the old body
keeps that, under the new id, until it ends.
"""

import asyncio
from pathlib import Path

from mailward.config import Settings
from mailward.core.names import Domain
from mailward.net.certificates import authority_folder
from mailward.net.fetch import FetchError, fetch_policy_at
from mailward.net.guard import Guard

_FETCH_SECONDS = 10.0


async def look_at_hosts(settings: Settings, domain: Domain, text: str) -> dict[str, str]:
    """`address:port` of each of the settings' policy hosts -> why it does not serve this very body, with a certificate
    that senders accept (or our development authority's, where that is on); empty: it does.
    """
    nodes = settings.policy_nodes
    reasons = await asyncio.gather(*(_why_not_at(settings, domain, text, *node) for node in nodes))
    return {
        f"[{address}]:{port}" if ":" in address else f"{address}:{port}": reason
        for (address, port), reason in zip(nodes, reasons, strict=True)
    }


async def _why_not_at(settings: Settings, domain: Domain, text: str, address: str, port: int) -> str:
    authorities: list[Path | None] = [None]
    if settings.has_development_ca:
        authorities.insert(0, authority_folder(settings) / "ca.pem")
    reason = ""
    for ca_file in authorities:
        try:
            result = await fetch_policy_at(
                domain,
                address,
                # our own hosts: the operator named them, wherever they are
                guard=Guard(allow_private=True),
                ca_file=ca_file,
                port=port,
                total_seconds=_FETCH_SECONDS,
            )
        except FetchError as error:
            reason = reason or str(error)
            continue
        return "" if result.body == text.encode() else "it serves another policy"
    return reason
