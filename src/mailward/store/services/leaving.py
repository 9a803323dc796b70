"""Leaving MTA-STS: the plan's rows, and the steps that we take by ourselves."""

from collections.abc import Sequence
from enum import StrEnum

from django.db import transaction
from django.db.models import F, Q

from mailward.core.mtasts.leaving import NONE_MAX_AGE_SECONDS, Plan, Served, Stage, plan
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, Leaving, PolicyVersion, VersionStep
from mailward.store.services import dnsupdates, following, history, outbox
from mailward.store.services.hosting import bump_generation
from mailward.store.services.notices import queue_notice
from mailward.store.services.policies import PolicyUnchanged, publish_policy

NONE = Policy(Mode.NONE, NONE_MAX_AGE_SECONDS)

OF_POLICY = ("_mta-sts", "mta-sts")
"""The records that go, as RecordCheck has them."""


class Way(StrEnum):
    """How far a domain is on its way out of MTA-STS."""

    STAYS = "stays"
    WAITS = "waits"
    """Record and host stay as they are."""
    REMOVES = "removes"
    LEFT = "left"


class NothingToLeave(Exception):
    """The domain has no policy here."""


@transaction.atomic
def begin(organisation_id: int, domain_id: int, *, author_id: int | None, reason: str = "") -> Leaving:
    """Serve `none` from now on. The plan that is open already is returned as it is. Raises Domain.DoesNotExist,
    NothingToLeave.
    """
    domain = Domain.objects.select_for_update().get(pk=domain_id, organisation_id=organisation_id)
    if (there := Leaving.objects.filter(domain=domain, ended_at=None).first()) is not None:
        return there
    if domain.current_version_id is None:
        raise NothingToLeave
    try:
        version_id = publish_policy(
            organisation_id, domain_id, NONE, author_id=author_id, reason=reason or "Leaving MTA-STS"
        ).pk
    except PolicyUnchanged:
        version_id = domain.current_version_id
    history.note(
        organisation_id, domain_id, "leaving-begun", "Leaving MTA-STS", author_id=author_id, reason=reason
    )
    row = Leaving.objects.create(
        organisation_id=organisation_id,
        domain=domain,
        author_id=author_id,
        version_id=version_id,
        begun_at=clock.now(),
    )
    outbox.put("leaving", str(domain_id))
    return row


@transaction.atomic
def break_off(organisation_id: int, domain_id: int, *, author_id: int | None) -> bool:
    """The policy stays `none`; an older version may be restored. False: there is no open plan."""
    rows = Leaving.objects.filter(domain_id=domain_id, organisation_id=organisation_id, ended_at=None)
    if not rows.update(ended_at=clock.now(), outcome="broken-off"):
        return False
    history.note(
        organisation_id, domain_id, "leaving-broken-off", "Leaving was broken off", author_id=author_id
    )
    return True


def put_due(limit: int) -> None:
    """Ask for the plans that can go on, at most `limit` of them, those first that were not looked at for longest."""
    is_served = Q(served_at=None, domain__announced_version=F("version"))
    is_ended = Q(domain__current_version=None) | ~Q(domain__current_version=F("version"))
    due = Leaving.objects.filter(is_served | is_ended | Q(wait_until__lte=clock.now()), ended_at=None)
    due = due.exclude(outbox.waiting_for("leaving", "domain_id"))
    oldest = due.order_by(F("looked_at").asc(nulls_first=True), "wait_until", "pk")
    keys = oldest.values_list("domain_id", flat=True)[:limit]
    outbox.put_many(outbox.Item("leaving", str(each)) for each in keys)


def earlier_of(row: Leaving) -> list[Served]:
    """The policies before `none`, the oldest first: none of them is ever forgotten."""
    versions = PolicyVersion.objects.filter(domain_id=row.domain_id, number__lt=row.version.number)
    earlier: list[Served] = []
    replaced_at = None  # by `none`, whose moment the plan knows
    for each in versions.order_by("-number"):
        if each.mode != Mode.NONE:
            earlier.append(Served(each.max_age_seconds, replaced_at))
        replaced_at = min(filter(None, (replaced_at, each.announced_at)), default=None)
    return earlier[::-1]


def plan_of(row: Leaving, *, are_gone: bool = False) -> Plan:
    return plan(earlier_of(row), row.served_at, clock.now(), are_gone=are_gone)


@transaction.atomic
def advance(domain_id: int) -> tuple[Leaving, Plan] | None:
    """Take up what has happened. None: there is no open plan, or a person has changed the policy, which ends it."""
    row = (
        Leaving.objects.select_for_update(of=("self",))
        .select_related("domain", "version")
        .filter(domain_id=domain_id, ended_at=None)
        .first()
    )
    if row is None:
        return None
    if row.domain.current_version_id != row.version_id:
        Leaving.objects.filter(pk=row.pk).update(ended_at=clock.now(), outcome="broken-off")
        text = "Leaving was broken off: the policy was changed"
        history.note(row.organisation_id, domain_id, "leaving-broken-off", text)
        return None
    if row.served_at is None and row.domain.announced_version_id == row.version_id:
        step = VersionStep.objects.filter(version_id=row.version_id, kind="announced").first()
        row.served_at = (step.done_at if step else None) or clock.now()
    found = plan_of(row)
    row.wait_until = found.wait_until
    row.save(update_fields=["served_at", "wait_until"])
    return row, found


@transaction.atomic
def tell(leaving_id: int, subject: str, lines: Sequence[str], page: str) -> None:
    """The wait is over: people are told once that the records may go."""
    row = Leaving.objects.filter(pk=leaving_id, told_at=None, ended_at=None).first()
    if row is not None:
        Leaving.objects.filter(pk=leaving_id).update(told_at=clock.now())
        history.note(
            row.organisation_id, row.domain_id, "leaving-waited", "No sender holds a policy any more"
        )
        queue_notice(row.organisation_id, row.domain_id, subject, lines, page=page)
        dnsupdates.put_domain(row.domain_id)


def way_of(domain: Domain) -> Way:
    row = Leaving.objects.filter(domain=domain).order_by("-pk").first()
    if row is None:
        return Way.STAYS
    if row.ended_at is None and domain.current_version_id == row.version_id:
        return Way.WAITS if row.told_at is None else Way.REMOVES
    return Way.LEFT if row.outcome == "done" and domain.current_version_id is None else Way.STAYS


def has_left(domain: Domain) -> bool:
    """Whether record and host have no place in the DNS any more: the wait is over, and no policy came after."""
    return way_of(domain) in (Way.REMOVES, Way.LEFT)


@transaction.atomic
def note_records(leaving_id: int, still_there: str) -> None:
    """What was seen of the records. Nothing left: the policy is served no longer, and the plan is done."""
    row = (
        Leaving.objects.select_for_update(of=("self",))
        .select_related("domain", "version")
        .filter(pk=leaving_id, ended_at=None)
        .first()
    )
    if row is None:
        return
    Leaving.objects.filter(pk=row.pk).update(looked_at=clock.now(), detail=still_there[:500])
    is_over = plan_of(row, are_gone=not still_there).stage is Stage.DONE
    if is_over and row.domain.current_version_id == row.version_id:
        Domain.objects.filter(pk=row.domain_id).update(current_version=None, announced_version=None)
        Leaving.objects.filter(pk=row.pk).update(ended_at=clock.now(), outcome="done")
        text = "Left MTA-STS: the records are gone, and no policy is served any more"
        history.note(row.organisation_id, row.domain_id, "leaving-done", text)
        following.end_all(row.domain_id, "there is no policy any more")
        bump_generation(row.domain_id)
