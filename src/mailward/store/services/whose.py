"""Whether a signed report is really about the domain that it came to.

A signature says who wrote a report, not whom it was sent to first: whoever gets one about a domain of theirs can
send it on to another's report address.
"""

from collections.abc import Iterable, Mapping

from mailward.core.names import matches_mx
from mailward.core.watch.keeping import unpack_facts
from mailward.store.models import Domain, Trust, Watch
from mailward.store.services.incoming import Judgement, ShareDigest, clean

DOUBT = (
    "Not counted, since it could be about another domain and sent on: no entry names this domain, the signature "
    "covers neither TLS-Report-Domain nor this address in To, and it speaks of hosts that are not known as MX hosts "
    "of this domain."
)
"""What is said of a report that is verified and could be another's, sent on."""
_SIGNED = frozenset({Trust.VERIFIED, Trust.VOUCHED_RELAY})


def is_open(judgement: Judgement, share: ShareDigest) -> bool:
    """Whether only the domain's MX hosts can tell that the share is its own."""
    return judgement.trust in _SIGNED and not judgement.says_whose and bool(share.hosts_in_doubt)


def mx_of(domain_ids: Iterable[int]) -> dict[int, frozenset[str]]:
    """The MX hosts of domains as last seen, and the `mx` patterns of the policies that we serve for them."""
    ids = list(domain_ids)
    found: dict[int, set[str]] = {each: set() for each in ids}
    for domain_id, patterns in Domain.objects.filter(pk__in=ids, current_version__isnull=False).values_list(
        "pk", "current_version__mx"
    ):
        found[domain_id].update(patterns)
    for watch in Watch.objects.filter(domain__in=ids, current__isnull=False).select_related("current"):
        if watch.current is not None:
            for host in unpack_facts(bytes(watch.current.facts)).hosts:
                # RFC 7672 §2.2.2: where its name is an alias, the TLSA base domain may be what that leads to
                found[watch.domain_id].update((host.name, *host.v4.chain, *host.v6.chain))
    return {domain_id: frozenset(name.lower() for name in names) for domain_id, names in found.items()}


def is_own(share: ShareDigest, mx: Mapping[int, frozenset[str]]) -> bool:
    """Whether each host in doubt is one of the domain's: a pattern of `mx_of` covers it."""
    patterns = mx.get(share.domain_id or 0, frozenset())
    return all(any(matches_mx(pattern, host) for pattern in patterns) for host in share.hosts_in_doubt)


def say_detail(detail: str, *, doubtful: bool) -> str:
    """What the row says of its verdict."""
    return clean(f"{DOUBT} {detail}" if doubtful else detail, 500)
