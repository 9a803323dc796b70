"""Before the id of a new policy is told: does every policy host serve it?

RFC 8461 section 8.1: the policy first, then the record; a sender that sees the new id and fetches the old body
keeps that, under the new id, until it ends.
"""

from pathlib import Path

from mailward.config import Settings
from mailward.core.names import Domain
from mailward.net.certificates import authority_folder
from mailward.net.fetch import FetchError, fetch_policy_at
from mailward.net.guard import Guard

_FETCH_SECONDS = 10.0


async def why_not_served(settings: Settings, domain: Domain, text: str) -> str:
    """Empty where each of the settings' policy hosts serves this very body, with a certificate that senders accept
    (or our development authority's, where that is on); otherwise which does not, and why.
    """
    for address, port in settings.policy_nodes:
        if reason := await _why_not_at(settings, domain, text, address, port):
            return f"{address}:{port}: {reason}"
    return ""


async def _why_not_at(settings: Settings, domain: Domain, text: str, address: str, port: int) -> str:
    authorities: list[Path | None] = [None]
    if settings.certificates.development_ca:
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
