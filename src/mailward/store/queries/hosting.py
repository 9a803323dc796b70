"""What the policy host serves."""

from dataclasses import dataclass

from mailward.store.models import Domain, HostingGeneration, Organisation


@dataclass(frozen=True, slots=True)
class Hosted:
    generation: int
    policies: dict[str, str]
    """Policy domain -> the exact text of its current policy."""


def hosting_generation() -> int:
    """Changes whenever `hosted_policies` may have."""
    return HostingGeneration.objects.filter(pk=1).values_list("value", flat=True).first() or 0


@dataclass(frozen=True, slots=True)
class Delegation:
    """What our nameserver says for one domain."""

    token: str
    report_token: str
    policy_id: str | None
    """None: no policy is announced."""


@dataclass(frozen=True, slots=True)
class Delegations:
    generation: int
    delegations: tuple[Delegation, ...]


def delegations() -> Delegations:
    """Of every domain. An id is told for those alone whose policy is served: see `hosted_policies`."""
    generation = hosting_generation()
    must_prove = Organisation.objects.count() > 1
    rows = Domain.objects.order_by("pk").values_list(
        "delegation_token", "report_token", "announced_version__policy_id", "claim_verified_at"
    )
    return Delegations(
        generation,
        tuple(
            Delegation(token, report_token, None if must_prove and proved is None else policy_id)
            for token, report_token, policy_id, proved in rows.iterator(chunk_size=5_000)
        ),
    )


def hosted_policies() -> Hosted:
    """Every policy to serve now.

    A single organisation may serve a domain before its claim is proved; with several, only proved claims
    count, so that nobody publishes a policy for somebody else's domain.
    """
    # read first: a change between the two reads is then seen as a newer generation, and loaded again
    generation = hosting_generation()
    domains = Domain.objects.filter(current_version__isnull=False)
    if Organisation.objects.count() > 1:
        domains = domains.filter(claim_verified_at__isnull=False)
    rows = domains.order_by().values_list("name", "current_version__text")
    return Hosted(
        generation, {name: text for name, text in rows.iterator(chunk_size=5_000) if text is not None}
    )
