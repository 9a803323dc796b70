"""Which policies of a report belong to which of our domains.

The address that a report came to says whose it can be at all; the report says which of those domains it is
about. Neither is enough alone: policy domains can be made up by anybody, and an organisation's address
serves many domains.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mailward.core.tlsrpt.schema import Policy, PolicyType, Report

MAX_HOSTS = 50
"""More MX hosts no report need name to be told from another's."""


class Address(NamedTuple):
    """What a report came to."""

    owned: Collection[str]
    """The domains that it can be about: the one whose address it is, or all of the organisation's."""
    domain: str | None = None
    """The domain whose address it is; None: the organisation's, which routes by policy domain."""


class Share(NamedTuple):
    """The part of a report that is about one domain."""

    domain: str | None
    """None: foreign, about domains that the address does not own."""
    policies: tuple[int, ...]
    """Places in `Report.policies`."""


def route(report: Report, address: Address, tls_report_domain: str | None = None) -> tuple[Share, ...]:
    """The shares of our domains, in the order in which the report has them.

    A report in which nothing is ours is one foreign share. Where something is ours, its foreign policies stay
    with it, unshared: kept and shown apart, never counted.
    """
    shares: dict[str, list[int]] = {}
    subject = _subject(report, tls_report_domain)
    for at, result in enumerate(report.policies):
        owner = _owner(result.policy, address, subject)
        if owner is not None:
            shares.setdefault(owner, []).append(at)
    if not shares:
        # a report without policies says nothing of anybody, and is kept where it came to
        return (Share(None if report.policies else address.domain, tuple(range(len(report.policies)))),)
    return tuple(Share(domain, tuple(places)) for domain, places in shares.items())


def hosts_in_doubt(report: Report, domain: str, places: Sequence[int]) -> frozenset[str]:
    """The MX hosts that a share of `domain` names instead of it; empty where it is about that domain in any case.

    Where no entry names the domain, all that makes the share its own is a header field or the address that the
    report came to. Neither need be signed, so whoever gets such a report about a domain of theirs could send it
    on to the address of another. "" stands for an entry that names nobody, and for more than MAX_HOSTS.
    """
    policies = [report.policies[place].policy for place in places]
    if any(each.policy_domain == domain and each.policy_type != PolicyType.TLSA for each in policies):
        return frozenset()
    # RFC 8460 §4.4: of a `tlsa` entry, the TLSA base domain
    hosts = {"" if each.policy_type != PolicyType.TLSA else each.policy_domain or "" for each in policies}
    hosts.discard(domain)
    return frozenset(hosts) if len(hosts) <= MAX_HOSTS else frozenset({""})


def _owner(policy: Policy, address: Address, subject: str | None) -> str | None:
    name = policy.policy_domain
    if name and policy.policy_type != PolicyType.TLSA:
        return name if name in address.owned else None
    # RFC 8460 §4.4: the policy-domain of `tlsa` is the TLSA base domain, an MX host, which can have any name
    if subject:
        return subject if subject in address.owned else None
    # some senders write the recipient's domain there all the same
    return name if name and name in address.owned else address.domain


def _subject(report: Report, tls_report_domain: str | None) -> str | None:
    """The one domain that a report is about, as far as it says so: its other entries, then TLS-Report-
    Domain.
    """
    named = {
        result.policy.policy_domain
        for result in report.policies
        if result.policy.policy_domain and result.policy.policy_type != PolicyType.TLSA
    }
    if len(named) == 1:
        return named.pop()
    return tls_report_domain.lower().removesuffix(".") if tls_report_domain else None
