"""Changes of profiles on their way: a wave in batches, its watch, the stop, the next wave, and the way back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery, Sum

from mailward.core.check.rehearsal import may_cost_mail
from mailward.core.mtasts.change import ChangeFacts, RefusalCode, refuse_more
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.rollout.waves import SHARES, Stop, WaveSigns, find_stop
from mailward.core.tlsrpt.schema import PolicyType
from mailward.net import clock
from mailward.store.models import (
    ChangeState,
    DailyFailures,
    DailySessions,
    Domain,
    Effect,
    ProblemDomain,
    ProfileChange,
    ProfileChangeDomain,
    WatchFinding,
)
from mailward.store.queries.profiles import count_told
from mailward.store.queries.readiness import change_facts_of
from mailward.store.services import outbox
from mailward.store.services.bulk_policies import Wanted, publish_policies
from mailward.store.services.notices import queue_notice
from mailward.store.services.policies import policy_of
from mailward.store.services.profiles import KIND, policy_for, prepare_some, weigh

BATCH = 250
"""Domains in one transaction."""


def step(change_id: int) -> bool:
    """Do the next batch of what the change's state asks for. False: nothing is left. May die anywhere."""
    change = ProfileChange.objects.select_related("profile").filter(pk=change_id).first()
    match change.state if change is not None else None:
        case ChangeState.PREPARING if change is not None:
            return prepare_some(change)
        case ChangeState.RUNNING if change is not None:
            return _send_some(change)
        case ChangeState.UNDOING if change is not None:
            return _undo_some(change)
    return False


Letter = Callable[[str, int, str], tuple[str, Sequence[str]]]
"""Name of the profile, number of the wave, why it stops -> subject and lines of a mail."""


def put_due(letter: Letter) -> int:
    """Stop what went wrong, which people are told by `letter`, and begin the next wave of what waited long enough.
    Returns how many were moved.
    """
    moved = 0
    rows = ProfileChange.objects.filter(state__in=(ChangeState.RUNNING, ChangeState.WAITING))
    for change in list(rows.select_related("profile")):
        stop = look(change)
        if stop is not None:
            moved += _stop(change, stop, letter)
        # nobody learns anything of a wave that no sender has seen yet, as while a policy host is away
        elif change.state == ChangeState.WAITING and _is_over(change) and count_told(change).is_most:
            with transaction.atomic():
                waiting = ProfileChange.objects.filter(
                    pk=change.pk, state=ChangeState.WAITING, wave=change.wave
                )
                if waiting.update(state=ChangeState.RUNNING, wave=change.wave + 1):
                    outbox.put(KIND, str(change.pk))
                    moved += 1
        elif change.state == ChangeState.RUNNING:
            outbox.put(KIND, str(change.pk))
    return moved


def _is_over(change: ProfileChange) -> bool:
    if change.wave_ended_at is None:
        return False
    return clock.now() - change.wave_ended_at >= timedelta(hours=change.wave_hours)


@transaction.atomic
def _stop(change: ProfileChange, stop: Stop, letter: Letter) -> bool:
    """False: it is over, or a person was faster."""
    rows = ProfileChange.objects.filter(pk=change.pk, state__in=(ChangeState.RUNNING, ChangeState.WAITING))
    if not rows.update(state=ChangeState.STOPPED, stop_reason=stop.text[:500]):
        return False
    subject, lines = letter(change.profile.name, change.wave, stop.text)
    queue_notice(change.organisation_id, None, subject, lines, page=f"/changes/{change.pk}/")
    return True


def look(change: ProfileChange) -> Stop | None:
    """Why it must go no further; None: nothing speaks against it."""
    if change.began_at is None:
        return None
    have = ProfileChangeDomain.objects.filter(change=change, applied_at__isnull=False).values("domain_id")
    opened = ProblemDomain.objects.filter(
        Q(problem__opened_at__gte=change.began_at) | Q(first_day__gt=change.began_at.date()),
        domain_id__in=have,
        problem__closed_at__isnull=True,
        gone_at__isnull=True,
    )
    causes = list(
        opened.order_by("problem_id").values_list("problem__result_type", "problem__host").distinct()[:20]
    )
    # our probes know the hour: one that joins a problem of others, on the day itself, is seen by this alone
    found = WatchFinding.objects.filter(domain_id__in=have, is_open=True, first_at__gte=change.began_at)
    causes += found.order_by("code", "host").values_list("code", "host").distinct()[:20]
    # reports are about days that are over: the day on which it began holds what was before it
    since = change.began_at.date() + timedelta(days=1)
    mine = {"domain_id__in": have, "day__gte": since, "policy_type": PolicyType.STS.value}
    sums = DailySessions.objects.filter(**mine).aggregate(ok=Sum("ok"), failed=Sum("failed"))
    refused = sum(
        count
        for result_type, count in DailyFailures.objects.filter(**mine)
        .order_by()
        .values_list("result_type")
        .annotate(Sum("sessions"))
        if may_cost_mail(result_type)
    )
    signs = WaveSigns(
        tuple(dict.fromkeys(f"{cause} at {host}" if host else cause for cause, host in causes)),
        (sums["ok"] or 0) + (sums["failed"] or 0),
        refused,
    )
    return find_stop(signs)


def _send_some(change: ProfileChange) -> bool:
    left = change.domains.filter(
        wave__gt=0, wave__lte=change.wave, applied_at__isnull=True, effect=Effect.CHANGED
    )
    batch = list(left.order_by("domain_id").values_list("domain_id", flat=True)[:BATCH])
    if batch:
        _apply(change, batch)
    else:
        _end_wave(change)
    return bool(batch)


def _end_wave(change: ProfileChange) -> None:
    is_last = (
        change.wave >= len(SHARES)
        or not change.domains.filter(
            effect=Effect.CHANGED, applied_at__isnull=True, wave__gt=change.wave
        ).exists()
    )
    state = ChangeState.DONE if is_last else ChangeState.WAITING
    rows = ProfileChange.objects.filter(pk=change.pk, state=ChangeState.RUNNING, wave=change.wave)
    rows.update(state=state, wave_ended_at=clock.now())


def _apply(change: ProfileChange, domain_ids: Sequence[int]) -> None:
    """What the preview showed may be days old: each is weighed once more."""
    seen = dict(change.domains.filter(domain_id__in=domain_ids).values_list("domain_id", "before_id"))
    now_rows = {row.domain_id: row for row in weigh(change, domain_ids)}
    wanted, policies = [], dict[int, Policy]()
    for domain_id in domain_ids:
        row = now_rows.get(domain_id)
        policy = policy_for(change, row.before) if row is not None else None
        if row is not None and policy is not None and row.effect == Effect.CHANGED:
            policies[domain_id] = policy
            wanted.append(Wanted(domain_id, policy, seen.get(domain_id) or 0))
    with transaction.atomic():
        if not _is_ours(change, ChangeState.RUNNING):
            return
        # a worker that was slow to end its batch may have been taken for dead
        left = change.domains.filter(domain_id__in=domain_ids, applied_at__isnull=True)
        domain_ids = list(left.values_list("domain_id", flat=True))
        left_ids = set(domain_ids)
        wanted = [each for each in wanted if each.domain_id in left_ids]
        outcomes = publish_policies(
            change.organisation_id, wanted, author_id=change.author_id, reason=_reason(change)
        )
        published = [key for key, outcome in outcomes.items() if outcome.version is not None]
        served = Domain.objects.filter(pk=OuterRef("domain_id")).values("current_version")[:1]
        change.domains.filter(domain_id__in=published).update(applied_at=clock.now(), after=Subquery(served))
        for domain_id in set(domain_ids) - set(published):
            outcome, row = outcomes.get(domain_id), now_rows.get(domain_id)
            is_same = row is not None and row.effect == Effect.SAME
            reason = outcome.reason if outcome else row.reason if row else "The domain is gone."
            change.domains.filter(domain_id=domain_id).update(
                effect=Effect.SAME if is_same else Effect.REFUSED, reason=reason[:500]
            )


def _is_ours(change: ProfileChange, state: ChangeState) -> bool:
    """Whether it is in this state still. From here to the commit nobody else goes on with it."""
    return ProfileChange.objects.select_for_update().filter(pk=change.pk, state=state).exists()


def _reason(change: ProfileChange) -> str:
    return f"Profile {change.profile.name}, wave {change.wave}" + (
        f": {change.reason}" if change.reason else ""
    )


def _undo_some(change: ProfileChange) -> bool:
    left = change.domains.filter(applied_at__isnull=False, undone_at__isnull=True).order_by("domain_id")
    rows = list(left.select_related("before")[:BATCH])
    if not rows:
        _put_back(change)
        return False
    before = {row.domain_id: policy_of(row.before) for row in rows if row.before is not None}
    refused = _why_not_back(before)
    wanted = [
        Wanted(row.domain_id, before[row.domain_id], row.after_id or 0)
        for row in rows
        if row.domain_id in before and row.domain_id not in refused
    ]
    with transaction.atomic():
        if not _is_ours(change, ChangeState.UNDOING):
            return False
        waiting = change.domains.filter(domain_id__in=[row.domain_id for row in rows], undone_at__isnull=True)
        waiting_ids = set(waiting.values_list("domain_id", flat=True))
        rows = [row for row in rows if row.domain_id in waiting_ids]
        wanted = [each for each in wanted if each.domain_id in waiting_ids]
        outcomes = publish_policies(
            change.organisation_id, wanted, author_id=change.author_id, reason=f"Undone: {_reason(change)}"
        )
        now = clock.now()
        fine = [key for key, outcome in outcomes.items() if outcome.version is not None]
        change.domains.filter(domain_id__in=fine).update(undone_at=now)
        for row in rows:
            if row.domain_id not in fine:
                outcome = outcomes.get(row.domain_id)
                why = outcome.reason if outcome else refused.get(row.domain_id, "It had no policy before.")
                text = f"Not undone: {why}"
                change.domains.filter(domain_id=row.domain_id).update(undone_at=now, reason=text[:500])
    return True


def _why_not_back(before: Mapping[int, Policy]) -> dict[int, str]:
    """Domain -> why to enforce again what it had before would lock mail out: MX hosts may have changed since."""
    enforced = {key: policy for key, policy in before.items() if policy.mode is Mode.ENFORCE}
    facts = change_facts_of(enforced)
    served = Domain.objects.select_related("current_version").in_bulk(list(enforced))
    found = {}
    for key, policy in enforced.items():
        version = served[key].current_version if key in served else None
        seen = facts.get(key) or ChangeFacts(None, why_unknown="our probes have not looked at it lately")
        refusals = refuse_more(policy, replace(seen, current=policy_of(version) if version else None))
        # that it was never tested is not so: it was in force
        if about := [str(each) for each in refusals if each.code is not RefusalCode.NEVER_TESTED]:
            found[key] = " ".join(about)
    return found


def _put_back(change: ProfileChange) -> None:
    """The profile says again what it said before."""
    with transaction.atomic():
        ProfileChange.objects.filter(pk=change.pk).update(state=ChangeState.UNDONE)
        if change.profile_before is not None:
            type(change.profile).objects.filter(pk=change.profile_id).update(**change.profile_before)
