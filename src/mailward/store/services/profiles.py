"""Policy profiles and their members, and what a change of one is prepared as: a preview with each domain's effect."""

from collections.abc import Iterable, Sequence

from django.db import transaction

from mailward.core.mtasts.change import ChangeFacts, refuse
from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid, serialise_policy
from mailward.core.names import Domain as Name
from mailward.core.rollout.waves import deal_waves
from mailward.net import clock
from mailward.store.models import (
    ChangeState,
    Domain,
    Effect,
    Leaving,
    PolicyProfile,
    PolicyVersion,
    ProfileChange,
    ProfileChangeDomain,
    ProfileMember,
)
from mailward.store.queries.evidence import CHUNK, chunks
from mailward.store.queries.readiness import change_facts_of
from mailward.store.scope import Scope
from mailward.store.services import automatic, outbox
from mailward.store.services.policies import keep_extensions, policy_of

KIND = "profile"
"""Of the outbox: the keys are ids of changes."""
MAX_WAVE_HOURS = 24 * 30


class ProfileExists(Exception):
    """The organisation has a profile of this name."""


class ChangeUnderWay(Exception):
    """The profile has a change that is not over: end or undo it first."""


@transaction.atomic
def create_profile(scope: Scope, name: str, policy: Policy) -> PolicyProfile:
    """`policy.mx` empty: each domain keeps its own. Raises ProfileExists."""
    profile, is_new = PolicyProfile.objects.get_or_create(
        organisation_id=scope.organisation_id,
        name=name,
        defaults={
            "mode": policy.mode.value,
            "max_age_seconds": policy.max_age_seconds,
            "mx": list(policy.mx),
        },
    )
    if not is_new:
        raise ProfileExists(name)
    return profile


@transaction.atomic
def add_members(scope: Scope, profile_id: int, names: Iterable[Name] | None) -> int:
    """Put these domains (None: all) of the organisation into the profile, out of any other. Their policies stay as they
    are until the next change; they are enforced by themselves where that was chosen for the profile. Returns how many
    are new. Raises PolicyProfile.DoesNotExist.
    """
    profile = scope.profiles().get(pk=profile_id)
    domains = scope.domains()
    ids: list[int] = []
    if names is None:
        ids = list(domains.values_list("pk", flat=True))
    else:
        for some in chunks(sorted(set(names))):
            ids += domains.filter(name__in=some).values_list("pk", flat=True)
    there = set(profile.members.values_list("domain_id", flat=True))
    new = [domain_id for domain_id in ids if domain_id not in there]
    for chunk in chunks(new):
        ProfileMember.objects.bulk_create(
            (
                ProfileMember(domain_id=domain_id, profile=profile, organisation_id=scope.organisation_id)
                for domain_id in chunk
            ),
            update_conflicts=True,
            unique_fields=["domain"],
            update_fields=["profile"],
        )
        if choice := automatic.choice_of(profile):
            reason = automatic.of_profile(profile)
            automatic.keep(scope.organisation_id, chunk, choice, author_id=scope.user_id, reason=reason)
    return len(new)


def remove_member(scope: Scope, profile_id: int, domain_id: int) -> bool:
    """Its policy stays as it is."""
    return bool(scope.profile_members().filter(profile_id=profile_id, domain_id=domain_id).delete()[0])


@transaction.atomic
def propose_change(
    scope: Scope, profile_id: int, policy: Policy, *, reason: str, wave_hours: int
) -> ProfileChange:
    """Begin to prepare a change for all members: nothing is published before somebody starts it.

    Raises PolicyProfile.DoesNotExist, ChangeUnderWay, PolicyInvalid.
    """
    profile = scope.profiles().select_for_update().get(pk=profile_id)
    if under_way(profile):
        raise ChangeUnderWay
    if policy.mx or policy.mode is Mode.NONE:
        serialise_policy(policy)
    profile.changes.filter(state__in=(ChangeState.PREPARING, ChangeState.DRAFT)).update(
        state=ChangeState.DROPPED
    )
    change = ProfileChange.objects.create(
        organisation_id=scope.organisation_id,
        profile=profile,
        mode=policy.mode.value,
        max_age_seconds=policy.max_age_seconds,
        mx=list(policy.mx),
        author_id=scope.user_id,
        reason=reason,
        state=ChangeState.PREPARING,
        wave_hours=wave_hours,
    )
    outbox.put(KIND, str(change.pk))
    return change


def under_way(profile: PolicyProfile) -> bool:
    live = (ChangeState.RUNNING, ChangeState.WAITING, ChangeState.STOPPED, ChangeState.UNDOING)
    return profile.changes.filter(state__in=live).exists()


def prepare_some(change: ProfileChange) -> bool:
    """Work out what the change does to the next members, and deal the waves at the end. False: that was all."""
    last = change.domains.order_by("-domain_id").values_list("domain_id", flat=True).first() or 0
    members = ProfileMember.objects.filter(profile_id=change.profile_id, pk__gt=last).order_by("pk")
    chunk = list(members.values_list("pk", flat=True)[:CHUNK])
    if chunk:
        rows = weigh(change, chunk)
        with transaction.atomic():
            ProfileChangeDomain.objects.bulk_create(rows)
        return True
    changed = list(change.domains.filter(effect=Effect.CHANGED).values_list("domain_id", flat=True))
    for number, wave in enumerate(deal_waves(change.pk, changed), 1):
        for part in chunks(wave):
            change.domains.filter(domain_id__in=part).update(wave=number)
    ProfileChange.objects.filter(pk=change.pk, state=ChangeState.PREPARING).update(state=ChangeState.DRAFT)
    return False


def weigh(change: ProfileChange, domain_ids: Sequence[int]) -> list[ProfileChangeDomain]:
    """What the change would do to these domains now: rows that are not kept. Reads without a transaction."""
    domains = Domain.objects.select_related("current_version").in_bulk(list(domain_ids))
    wanted = {key: policy_for(change, domain.current_version) for key, domain in domains.items()}
    facts = change_facts_of(
        {key: each for key, each in wanted.items() if each is not None and each.mode is Mode.ENFORCE}
    )
    going = Leaving.objects.filter(domain_id__in=list(domain_ids), ended_at=None)
    leaving = set(going.values_list("domain_id", flat=True))
    rows = []
    for domain_id, domain in domains.items():
        effect, reason = _effect(wanted[domain_id], domain.current_version, facts.get(domain_id))
        if effect is Effect.CHANGED and domain_id in leaving:
            # any other version would break its plan off
            effect, reason = Effect.REFUSED, "It is leaving MTA-STS: break that off first."
        rows.append(
            ProfileChangeDomain(
                organisation_id=change.organisation_id,
                change=change,
                domain_id=domain_id,
                effect=effect,
                reason=reason[:500],
                before=domain.current_version,
            )
        )
    return rows


def policy_for(change: ProfileChange, current: PolicyVersion | None) -> Policy | None:
    """None: it needs the domain's own `mx`, and there are none."""
    mx = tuple(change.mx) or (tuple(current.mx) if current is not None else ())
    mode = Mode(change.mode)
    if mode is Mode.NONE:
        return Policy(mode, change.max_age_seconds)
    return Policy(mode, change.max_age_seconds, mx) if mx else None


def _effect(
    policy: Policy | None, current: PolicyVersion | None, facts: ChangeFacts | None
) -> tuple[Effect, str]:
    if policy is None:
        return Effect.REFUSED, "The domain has no policy whose MX hosts it could keep."
    try:
        text = serialise_policy(keep_extensions(policy, current))
    except PolicyInvalid as error:
        return Effect.REFUSED, str(error)
    if current is not None and current.text == text:
        return Effect.SAME, ""
    known = facts or ChangeFacts(None, why_unknown="our probes have not looked at it yet")
    held = policy_of(current) if current is not None else known.current
    refusals = refuse(policy, ChangeFacts(known.mx, known.why_unknown, known.rejected, held))
    return (Effect.REFUSED, " ".join(str(each) for each in refusals)) if refusals else (Effect.CHANGED, "")


@transaction.atomic
def start(scope: Scope, change_id: int) -> bool:
    """Send the first wave out, or the next one after a stop. False: it is in no state for that."""
    change = scope.profile_changes().select_for_update().get(pk=change_id)
    if change.state == ChangeState.DRAFT:
        profile = PolicyProfile.objects.select_for_update().get(pk=change.profile_id)
        if under_way(profile):
            return False
        PolicyProfile.objects.filter(pk=profile.pk).update(
            mode=change.mode, max_age_seconds=change.max_age_seconds, mx=change.mx
        )
        before = {"mode": profile.mode, "max_age_seconds": profile.max_age_seconds, "mx": profile.mx}
        values = {"state": ChangeState.RUNNING, "wave": 1, "began_at": clock.now(), "profile_before": before}
    elif change.state == ChangeState.STOPPED:
        # a person has looked: what was seen until now stops it no more
        values = {"state": ChangeState.RUNNING, "stop_reason": "", "began_at": clock.now()}
    elif change.state == ChangeState.WAITING:
        values = {"state": ChangeState.RUNNING, "wave": min(3, change.wave + 1)}
    else:
        return False
    ProfileChange.objects.filter(pk=change_id).update(**values)
    outbox.put(KIND, str(change_id))
    return True


@transaction.atomic
def stop(scope: Scope, change_id: int, reason: str) -> bool:
    """No further domain gets the change; those that have it keep it."""
    rows = scope.profile_changes().filter(pk=change_id, state__in=(ChangeState.RUNNING, ChangeState.WAITING))
    return bool(rows.update(state=ChangeState.STOPPED, stop_reason=reason[:500]))


@transaction.atomic
def undo(scope: Scope, change_id: int) -> bool:
    """Give every domain that has the change the policy back that it had before."""
    live = (ChangeState.RUNNING, ChangeState.WAITING, ChangeState.STOPPED, ChangeState.DONE)
    change = scope.profile_changes().select_for_update().get(pk=change_id)
    # a preview has changed nothing yet
    idle = (ChangeState.DROPPED, ChangeState.PREPARING, ChangeState.DRAFT)
    newest = change.profile.changes.exclude(state__in=idle).order_by("-pk").first()
    if change.state not in live or newest is None or newest.pk != change.pk:
        return False
    ProfileChange.objects.filter(pk=change_id).update(state=ChangeState.UNDOING)
    outbox.put(KIND, str(change_id))
    return True


@transaction.atomic
def drop(scope: Scope, change_id: int) -> bool:
    """Forget a preview."""
    rows = scope.profile_changes().filter(pk=change_id, state__in=(ChangeState.PREPARING, ChangeState.DRAFT))
    return bool(rows.update(state=ChangeState.DROPPED))
