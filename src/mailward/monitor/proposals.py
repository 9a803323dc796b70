"""Proposes the `mx` lines of a policy from the MX records that are live now."""

from dataclasses import dataclass

from mailward.core.mtasts.providers import recognise
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.net.resolver import Resolver, Status


@dataclass(frozen=True, slots=True)
class MxProposal:
    hosts: tuple[str, ...]
    """Exact names, in order of preference: what to propose as `mx`."""
    provider: str | None = None
    patterns: tuple[str, ...] = ()
    """Patterns that cover the provider's hosts too, should it add some; empty if there is nothing to
    choose.
    """
    reason: str = ""
    """Why there is nothing to propose, or what to know about it."""


async def propose_mx(resolver: Resolver, domain: Domain) -> MxProposal:
    answer = await resolver.mx(domain)
    if answer.status is Status.FAILED:
        return MxProposal((), reason=f"the MX records of {domain} could not be asked: {answer.reason}")
    if not answer.found:
        return await _without_mx(resolver, domain, answer.reason)
    hosts, odd = [], []
    for host in answer.records:
        try:
            hosts.append(str(parse_domain(host)))
        except InvalidName:
            odd.append(host)
    reason = f"left out, since no policy can name it: {', '.join(odd)}"[:300] if odd else ""
    provider, patterns = _recognise(hosts)
    return MxProposal(tuple(hosts), provider, patterns, reason)


async def _without_mx(resolver: Resolver, domain: Domain, reason: str) -> MxProposal:
    if reason:
        return MxProposal((), reason=reason)
    if (await resolver.addresses(domain)).found:
        # RFC 5321 §5.1: the implicit MX
        return MxProposal((domain,), reason=f"{domain} has no MX record, so senders use its own address")
    return MxProposal((), reason=f"{domain} has neither MX records nor an address: it takes no mail")


def _recognise(hosts: list[str]) -> tuple[str | None, tuple[str, ...]]:
    """The provider that all of the hosts belong to, and patterns that say more than the exact list."""
    provider = recognise(hosts)
    if provider is None:
        return None, ()
    return provider.name, () if set(provider.patterns) == set(hosts) else provider.patterns
