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
