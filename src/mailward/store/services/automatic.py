"""Enforcing by itself, chosen for many domains at once: all of a profile, those that a person ticked, those of a list.

Each domain has its own choice (store.models.Rollout), which a choice for many writes: whoever then decides otherwise
for one domain is not overruled. A profile remembers its choice for those that join it. Short transactions, each with
its lines of history: ten thousand domains do not keep others from writing. How far it has come is kept in each, so that
what was cut short goes on where it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from mailward.core.rollout.conditions import DEFAULT_HOLD_DAYS
from mailward.net import clock
from mailward.store.models import AutomaticChoice, Domain, DomainEvent, PolicyProfile, Rollout
from mailward.store.queries.evidence import CHUNK
from mailward.store.scope import Scope
from mailward.store.services import history, outbox

KIND = "choose"
"""Of the outbox: the keys are ids of choices."""
_KEEP = timedelta(days=90)


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


@transaction.atomic
def choose_for(
    scope: Scope,
    domain_ids: Iterable[int],
    choice: Choice,
    *,
    reason: str,
    profile: PolicyProfile | None = None,
) -> AutomaticChoice:
    """For those of them that are the organisation's: at once where they fit into one transaction, by the worker where
    they are more. Either way it is kept now, and all of them get it.
    """
    ids = sorted(set(domain_ids))
    row = AutomaticChoice.objects.create(
        organisation_id=scope.organisation_id,
        profile=profile,
        author_id=scope.user_id,
        reason=reason[:300],
        is_automatic=choice.is_automatic,
        hold_days=choice.hold_days,
        ids=ids,
        total=len(ids),
    )
    if len(ids) <= CHUNK:
        step(row.pk)
        row.refresh_from_db()
    else:
        outbox.put(KIND, str(row.pk))
    return row


@transaction.atomic
def choose_for_profile(scope: Scope, profile_id: int, choice: Choice) -> AutomaticChoice:
    """For all of its domains, and for those that join it later. Raises PolicyProfile.DoesNotExist."""
    profile = scope.profiles().select_for_update().get(pk=profile_id)
    scope.profiles().filter(pk=profile_id).update(
        is_automatic=choice.is_automatic, hold_days=choice.hold_days
    )
    members = scope.profile_members().filter(profile_id=profile_id).values_list("domain_id", flat=True)
    return choose_for(scope, members, choice, reason=of_profile(profile), profile=profile)


@transaction.atomic
def step(choice_id: int) -> bool:
    """Give the next of its domains what was chosen. False: all have it. May die anywhere."""
    row = AutomaticChoice.objects.select_for_update().filter(pk=choice_id, finished_at=None).first()
    if row is None:
        return False
    part = row.ids[row.done : row.done + CHUNK]
    there = Domain.objects.filter(organisation_id=row.organisation_id, pk__in=part).order_by("pk")
    row.changed += keep(
        row.organisation_id,
        list(there.values_list("pk", flat=True)),
        chosen(row),
        author_id=row.author_id,
        reason=row.reason,
        chosen_at=row.created_at,
    )
    row.done += len(part)
    if is_last := row.done >= row.total:
        row.finished_at, row.ids = clock.now(), []
    row.save(update_fields=["changed", "done", *(("finished_at", "ids") if is_last else ())])
    return not is_last


def sweep() -> None:
    """Forget what was done long ago: it stands in the history of each domain."""
    AutomaticChoice.objects.filter(finished_at__lt=clock.now() - _KEEP).delete()


def chosen(row: AutomaticChoice) -> Choice:
    return Choice(row.is_automatic, row.hold_days)


def choice_of(profile: PolicyProfile) -> Choice | None:
    """What a domain that joins it gets; None: what it had."""
    return Choice(True, profile.hold_days) if profile.is_automatic else None


def of_profile(profile: PolicyProfile) -> str:
    return f"For the domains of the profile {profile.name}."


def keep(
    organisation_id: int,
    domain_ids: Sequence[int],
    choice: Choice,
    *,
    author_id: int | None,
    reason: str,
    chosen_at: datetime | None = None,
) -> int:
    """Within the caller's transaction, for domains that are the organisation's: at most CHUNK of them. For whom
    something else was chosen after `chosen_at` (None: now) keeps that. Returns for how many it is new.
    """
    at = chosen_at or clock.now()
    rows = Rollout.objects.select_for_update().order_by("pk").in_bulk(list(domain_ids))
    meant = [
        domain_id
        for domain_id in domain_ids
        if domain_id not in rows or (rows[domain_id].chosen_at or at) <= at
    ]
    new = [each for each in meant if _differs(rows.get(each) or Rollout(is_automatic=False), choice)]
    values = {"is_automatic": choice.is_automatic, "hold_days": choice.hold_days, "chosen_at": at}
    # those too to whom it is not new: an older choice that comes late must not overrule this one
    Rollout.objects.bulk_create(
        (Rollout(domain_id=domain_id, organisation_id=organisation_id, **values) for domain_id in meant),
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
