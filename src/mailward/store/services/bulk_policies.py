"""Policies of many domains in one transaction: what publish_policy does for one, by a fixed number of statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Max

from mailward.core.mtasts.change import describe
from mailward.core.mtasts.policy import Policy, make_policy_id, serialise_policy
from mailward.net import clock
from mailward.store.models import Domain, DomainEvent, PolicyVersion, VersionStep
from mailward.store.services import dnsupdates, history, outbox
from mailward.store.services.hosting import bump_generation
from mailward.store.services.policies import keep_extensions, policy_of

MAX_DOMAINS = 500
"""In one transaction, and in one IN (...): others wait for it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    domain_id: int
    policy: Policy
    based_on: int
    """The id of the version that was seen; 0: there was none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    version: PolicyVersion | None
    """None: nothing was published."""
    reason: str = ""
    """Why not."""


@transaction.atomic
def publish_policies(
    organisation_id: int, wanted: Sequence[Wanted], *, author_id: int | None, reason: str
) -> dict[int, Outcome]:
    """By domain id. A domain that changed meanwhile, is gone, or has this policy already is left alone.

    Raises PolicyInvalid, and ValueError for more than MAX_DOMAINS.
    """
    if len(wanted) > MAX_DOMAINS:
        raise ValueError(f"at most {MAX_DOMAINS} domains at once")
    outcomes, versions = _make_versions(organisation_id, wanted, author_id, reason)
    PolicyVersion.objects.bulk_create(versions)
    domains = [Domain(pk=version.domain_id, current_version=version) for version in versions]
    Domain.objects.bulk_update(domains, ["current_version"], batch_size=MAX_DOMAINS)
    _follow(versions)
    begun = {each.domain_id for each in wanted if not each.based_on}
    dnsupdates.put_domains(version.domain for version in versions if version.domain_id in begun)
    return outcomes | {version.domain_id: Outcome(version) for version in versions}


def _make_versions(
    organisation_id: int, wanted: Sequence[Wanted], author_id: int | None, reason: str
) -> tuple[dict[int, Outcome], list[PolicyVersion]]:
    ids = [each.domain_id for each in wanted]
    rows = Domain.objects.select_for_update(of=("self",)).select_related("current_version").order_by("pk")
    domains = rows.filter(organisation_id=organisation_id).in_bulk(ids)
    numbers = dict(
        PolicyVersion.objects.filter(domain_id__in=ids)
        .order_by()
        .values_list("domain_id")
        .annotate(last=Max("number"))
    )
    outcomes: dict[int, Outcome] = {}
    versions: list[PolicyVersion] = []
    events: list[DomainEvent] = []
    now = clock.now()
    for each in wanted:
        domain = domains.get(each.domain_id)
        current = domain.current_version if domain is not None else None
        text = serialise_policy(keep_extensions(each.policy, current))
        if domain is None:
            outcomes[each.domain_id] = Outcome(None, "The domain is gone.")
        elif (current.pk if current else 0) != each.based_on:
            outcomes[each.domain_id] = Outcome(None, "Its policy was changed meanwhile.")
        elif current is not None and current.text == text:
            outcomes[each.domain_id] = Outcome(None, "It says the same already.")
        else:
            number = (numbers.get(each.domain_id) or 0) + 1
            versions.append(
                PolicyVersion(
                    organisation_id=organisation_id,
                    domain=domain,
                    number=number,
                    # later than any before it by as many milliseconds as it has predecessors in this instant
                    policy_id=make_policy_id(text, now + timedelta(milliseconds=number)),
                    mode=each.policy.mode.value,
                    max_age_seconds=each.policy.max_age_seconds,
                    mx=list(each.policy.mx),
                    text=text,
                    author_id=author_id,
                    reason=reason[:500],
                    created_at=now,
                )
            )
            told = describe(policy_of(current) if current else None, each.policy) or "written anew"
            events.append(
                history.make(
                    organisation_id,
                    each.domain_id,
                    history.Kind.POLICY_CHANGED,
                    f"Policy, version {number}: {told}",
                    author_id=author_id,
                    reason=reason,
                )
            )
    DomainEvent.objects.bulk_create(events)
    return outcomes, versions


def _follow(versions: Sequence[PolicyVersion]) -> None:
    """What follows from each, as publish_policy has it."""
    if not versions:
        return
    ids = [version.domain_id for version in versions]
    VersionStep.objects.filter(version__domain_id__in=ids).delete()
    outbox.put_many(outbox.Item("announce", str(domain_id)) for domain_id in ids)
    bump_generation(*ids, zone=False)
