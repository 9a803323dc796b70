"""Enforcing by itself, chosen for many domains at once: all of a profile, those that a person ticked, those of a list.

Each domain has its own choice (store.models.Rollout), which a choice for many writes: whoever then decides otherwise
for one domain is not overruled. A profile remembers its choice for those that join it. Short transactions, each with
its lines of history: ten thousand domains do not keep others from writing, and what was cut short is done by asking
again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction

from mailward.core.rollout.conditions import DEFAULT_HOLD_DAYS
from mailward.store.models import DomainEvent, PolicyProfile, Rollout
from mailward.store.queries.evidence import chunks
from mailward.store.scope import Scope
from mailward.store.services import history


@dataclass(frozen=True, slots=True)
class Choice:
    is_automatic: bool
    hold_days: int = DEFAULT_HOLD_DAYS
    """So long a domain must have been ready."""

    def __str__(self) -> str:
        return (
            f"Enforce automatically after {self.hold_days} day{'' if self.hold_days == 1 else 's'} of readiness"
            if self.is_automatic
            else "Enforce by hand only"
        )


def choose_for(scope: Scope, domain_ids: Iterable[int], choice: Choice, *, reason: str) -> int:
    """For those of them that are the organisation's. Returns for how many that is new."""
    changed = 0
    for chunk in chunks(sorted(set(domain_ids))):
        with transaction.atomic():
            there = scope.domains().filter(pk__in=chunk).values_list("pk", flat=True)
            changed += keep(
                scope.organisation_id, list(there), choice, author_id=scope.user_id, reason=reason
            )
    return changed


def choose_for_profile(scope: Scope, profile_id: int, choice: Choice) -> int:
    """For all of its domains, and for those that join it later. Returns for how many that is new. Raises
    PolicyProfile.DoesNotExist.
    """
    profile = scope.profiles().get(pk=profile_id)
    scope.profiles().filter(pk=profile_id).update(
        is_automatic=choice.is_automatic, hold_days=choice.hold_days
    )
    members = scope.profile_members().filter(profile_id=profile_id).values_list("domain_id", flat=True)
    return choose_for(scope, members, choice, reason=of_profile(profile))


def choice_of(profile: PolicyProfile) -> Choice | None:
    """What a domain that joins it gets; None: what it had."""
    return Choice(True, profile.hold_days) if profile.is_automatic else None


def of_profile(profile: PolicyProfile) -> str:
    return f"For the domains of the profile {profile.name}."


def keep(
    organisation_id: int, domain_ids: Sequence[int], choice: Choice, *, author_id: int | None, reason: str
) -> int:
    """Within the caller's transaction, for domains that are the organisation's: at most CHUNK of them."""
    rows = Rollout.objects.in_bulk(list(domain_ids))
    new = [
        domain_id
        for domain_id in domain_ids
        if _differs(rows.get(domain_id) or Rollout(is_automatic=False), choice)
    ]
    values = {"is_automatic": choice.is_automatic, "hold_days": choice.hold_days}
    Rollout.objects.bulk_create(
        (Rollout(domain_id=domain_id, organisation_id=organisation_id, **values) for domain_id in new),
        update_conflicts=True,
        unique_fields=["domain"],
        update_fields=list(values),
    )
    DomainEvent.objects.bulk_create(
        history.make(
            organisation_id,
            domain_id,
            history.Kind.ROLLOUT_CHOSEN,
            f"{choice}.",
            author_id=author_id,
            reason=reason,
        )
        for domain_id in new
    )
    return len(new)


def _differs(row: Rollout, choice: Choice) -> bool:
    if row.is_automatic != choice.is_automatic:
        return True
    return choice.is_automatic and row.hold_days != choice.hold_days
