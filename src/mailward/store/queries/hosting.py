"""What the policy host serves."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q

from mailward.core.acme.challenge import dns_answer
from mailward.store.models import (
    AcmeOrder,
    Domain,
    HostingChange,
    HostingGeneration,
    Organisation,
    RecordCheck,
)
from mailward.store.queries.evidence import chunks

_MAX_CHANGES = 20_000


class HostedPolicy(NamedTuple):
    text: str
    """The exact body."""
    since: int
    """When it was published, in seconds since 1970."""
    domain_id: int = 0


@dataclass(frozen=True, slots=True)
class Hosted:
    generation: int
    policies: dict[str, HostedPolicy]
    """By policy domain."""


def hosting_generation() -> int:
    """Changes whenever `hosted_policies` may have."""
    return HostingGeneration.objects.filter(pk=1).values_list("value", flat=True).first() or 0


class HostingState(NamedTuple):
    """How far somebody has read. Of two equal ones the same is hosted."""

    generation: int = 0
    mark: int = 0
    serial_generation: int = 0
    """Modulo 2^32 the serial of our nameserver's zone."""
    must_prove: bool = False
    """Several organisations: only proved claims are hosted."""


def hosting_state() -> HostingState:
    row = HostingGeneration.objects.filter(pk=1).values_list("value", "mark", "zone_value").first()
    must_prove = Organisation.objects.count() > 1
    return HostingState(0, 0, 0, must_prove) if row is None else HostingState(*row, must_prove)


def changed_domains(since: HostingState) -> frozenset[int] | None:
    """The domains of which something that is hosted changed since then; they may be gone. None: anything may have
    changed, or what was then is not what this database remembers.
    """
    rows = list(
        HostingChange.objects.filter(generation__gte=since.generation)
        .order_by("generation")
        .values_list("generation", "mark", "domain_id")[:_MAX_CHANGES]
    )
    later = [domain_id for generation, _, domain_id in rows if generation > since.generation]
    is_our_past = bool(rows) and rows[0][:2] == (since.generation, since.mark)
    named = frozenset(domain_id for domain_id in later if domain_id is not None)
    return named if is_our_past and len(rows) < _MAX_CHANGES and None not in later else None


class Delegation(NamedTuple):
    """What our nameserver says for one domain."""

    token: str
    report_token: str
    policy_id: str | None
    """None: no policy is announced."""
    challenge: str | None = None
    """What a CA wants to see before it issues (DNS-01, RFC 8555 section 8.4), else the word by which we see ourselves
    whether the name leads to us; None: nobody wants to see anything.
    """
    proved_name: str | None = None
    """The domain, once its claim is proved: then `mta-sts.<domain>` may be a zone of ours."""


def delegations(domain_ids: Collection[int] | None = None, *, must_prove: bool) -> dict[int, Delegation]:
    """Of these domains, or of every one. An id is told for those alone whose policy is served: see
    `hosted_policies`.
    """
    domains = Domain.objects.order_by("pk")
    parts = (
        [domains]
        if domain_ids is None
        else [domains.filter(pk__in=part) for part in chunks(list(domain_ids))]
    )
    challenges = _challenges()
    columns = (
        "pk", "delegation_token", "report_token", "announced_version__policy_id", "claim_verified_at", "name",
        "certificate_care__dns_word",
    )  # fmt: skip
    return {
        pk: Delegation(
            token,
            report_token,
            None if must_prove and proved is None else policy_id,
            challenges.get(pk) or word or None,
            None if proved is None else name,
        )
        for part in parts
        for pk, token, report_token, policy_id, proved, name, word in part.values_list(*columns).iterator(
            5_000
        )
    }


POLICY_HOST, RIGHT, UNKNOWN = "mta-sts", "right", "unknown"
"""As monitor.expected names them."""


def leads_to_us(state: str, *, was_right: bool) -> bool:
    """What the last look at `mta-sts.<domain>` says: one that brought no answer takes nothing back."""
    return state == RIGHT or (state == UNKNOWN and was_right)


def leading_domains(domain_ids: Collection[int] | None = None) -> set[int]:
    """Of these domains, or of all, those whose claim is proved and whose policy host name, as far as we know, leads to
    us. Another answer than before is a change of what is hosted (`record_states`).
    """
    checks = RecordCheck.objects.filter(
        Q(state=RIGHT) | Q(state=UNKNOWN, was_right=True),
        record=POLICY_HOST,
        domain__claim_verified_at__isnull=False,
    )
    parts = (
        [checks]
        if domain_ids is None
        else [checks.filter(domain_id__in=part) for part in chunks(list(domain_ids))]
    )
    return {pk for part in parts for pk in part.values_list("domain_id", flat=True).iterator(5_000)}


def _challenges() -> dict[int, str]:
    """Of the orders that are open now: few."""
    rows = AcmeOrder.objects.filter(ended_at=None, method="dns-01").exclude(key_authorization="")
    rows = rows.filter(domain__isnull=False)
    return {pk: dns_answer(text) for pk, text in rows.values_list("domain_id", "key_authorization")}


def own_challenges() -> dict[str, str]:
    """What a CA wants to see before it issues for a name of the installation's own: host name -> text."""
    rows = AcmeOrder.objects.filter(ended_at=None, method="dns-01", domain=None).exclude(key_authorization="")
    return {host: dns_answer(text) for host, text in rows.values_list("host", "key_authorization")}


def hosted_policies(domain_ids: Collection[int] | None = None) -> Hosted:
    """The policies to serve now, of these domains or of all.

    A single organisation may serve a domain before its claim is proved; with several, only proved claims
    count, so that nobody publishes a policy for somebody else's domain.
    """
    # read first: a change between the two reads is then seen as a newer generation, and loaded again
    generation = hosting_generation()
    domains = Domain.objects.filter(current_version__isnull=False)
    if Organisation.objects.count() > 1:
        domains = domains.filter(claim_verified_at__isnull=False)
    parts = (
        [domains]
        if domain_ids is None
        else [domains.filter(pk__in=part) for part in chunks(list(domain_ids))]
    )
    columns = ("pk", "name", "current_version__text", "current_version__created_at")
    policies: dict[str, HostedPolicy] = {}
    for part in parts:
        for pk, name, text, since in part.order_by().values_list(*columns).iterator(chunk_size=1_000):
            if text is not None and since is not None:
                policies[name] = HostedPolicy(text, int(since.timestamp()), pk)
    return Hosted(generation, policies)
