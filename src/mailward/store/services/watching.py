"""When each domain is looked at, and what is kept of it: states in a row, of which only a new one is a new row."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from mailward.config import Settings
from mailward.core.check.facts import Facts
from mailward.core.check.run import Report, run
from mailward.core.watch import changes
from mailward.core.watch.blameless import OF_LEAVING, mark_left, mark_ours
from mailward.core.watch.keeping import has_ciphers, pack_facts, unpack_facts, with_looks, without_looks
from mailward.core.watch.sameness import digest
from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models import (
    AskedCheck,
    AskedLook,
    Check,
    Domain,
    MxLook,
    MxTarget,
    OutboxItem,
    Watch,
)
from mailward.store.queries.checks import facts_of, moments_of, report_of, sessions_of
from mailward.store.queries.evidence import chunks
from mailward.store.services import mxlooks, outbox
from mailward.store.services.findings import Basis, Moved, note_seen, settle
from mailward.store.services.leaving import has_left
from mailward.store.services.rollout import judge_soon

ASK_PAUSE = timedelta(minutes=2)
"""Between two checks of a domain that people ask for."""
DEEP_PAUSE = timedelta(hours=1)
"""The same, where they ask for deep looks."""
_KEEP_ASKED = timedelta(days=7)
_SETTLES = timedelta(minutes=1)
"""After a change, before it is looked at: resolvers keep the answers of before."""
_AT_ONCE = 20
"""New domains up to so many are looked at now; more of them within one interval."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a check of a domain needs to know before it begins."""

    name: str
    organisation_id: int
    is_proved: bool
    asked_at: datetime | None
    is_pending: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check brought."""

    facts: Facts
    """With the sessions to judge by."""
    look_ids: tuple[int, ...]
    """Of those sessions that are kept; the order of the facts."""
    looked_at: Mapping[str, datetime]
    """Host -> when it was looked at last."""
    unobserved: tuple[tuple[str, str], ...] = ()
    """What is judged by what was seen before, and why."""


def plan_new(settings: Settings) -> int:
    """Give a place in the schedule to domains that have none. Returns how many."""
    missing = list(Domain.objects.filter(watch__isnull=True).values_list("id", "organisation_id"))
    now, interval = clock.now(), timedelta(minutes=settings.watch.minutes)
    spread = interval if len(missing) > _AT_ONCE else timedelta()
    rows = (
        Watch(domain_id=domain_id, organisation_id=organisation_id, due_at=now + spread * random.random())  # noqa: S311
        for domain_id, organisation_id in missing
    )
    for chunk in chunks(list(rows)):
        Watch.objects.bulk_create(chunk, ignore_conflicts=True)
    return len(missing)


def put_due(limit: int) -> int:
    """Ask for the checks that are due, at most `limit` of them, the longest waiting first."""
    due = Watch.objects.filter(due_at__lte=clock.now()).exclude(outbox.waiting_for("watch", "domain_id"))
    keys = list(due.order_by("due_at").values_list("domain_id", flat=True)[:limit])
    outbox.put_many(outbox.Item("watch", str(each)) for each in keys)
    return len(keys)


def look_soon(domain_id: int) -> None:
    """What people have mended, or a policy that has changed, is looked at before its turn: until then the page would
    show what was there before. Where many wait, it is in its turn.
    """
    if not Watch.objects.filter(domain_id=domain_id, checked_at__isnull=False).exists():
        return  # nothing was seen before
    if OutboxItem.objects.filter(kind="watch").count() < _AT_ONCE:
        outbox.put("watch", str(domain_id), available_at=clock.now() + _SETTLES)


def plan_of(domain_id: int) -> Plan | None:
    """None: the domain is gone."""
    domain = Domain.objects.filter(pk=domain_id).select_related("watch").first()
    if domain is None:
        return None
    watch = getattr(domain, "watch", None)
    return Plan(
        domain.name,
        domain.organisation_id,
        domain.claim_verified_at is not None,
        watch.asked_at if watch else None,
        watch.is_pending if watch else False,
    )


def current_facts(domain_id: int) -> Facts | None:
    """What was seen last, without the MX sessions; None: nothing yet."""
    check = Check.objects.filter(domain_id=domain_id, last_at__isnull=True).order_by("-id").first()
    return unpack_facts(bytes(check.facts)) if check is not None else None


def keep(domain_id: int, seen: Seen, settings: Settings) -> Moved | None:
    """What a look at a domain brought: judged, kept where it is new, and its problems settled.

    None: the domain is gone.
    """
    report = _judge(domain_id, seen.facts, settings)
    with transaction.atomic():
        domain = Domain.objects.select_for_update().filter(pk=domain_id).first()
        if domain is None:
            return None
        moved, is_pending = _keep(domain, report, seen, settings, frozenset())
        now = clock.now()
        pause = timedelta(minutes=settings.watch.minutes) * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        if is_pending:
            pause = min(pause, timedelta(minutes=settings.watch.confirm_minutes))
        Watch.objects.filter(pk=domain_id).update(
            due_at=now + pause,
            checked_at=now,
            is_pending=is_pending,
            unobserved=[list(each) for each in seen.unobserved],
        )
        for host in moved.hosts & set(seen.looked_at):
            # whoever has this host too hears of it at once, as of one cause
            outbox.put("rejudge", host)
    return moved


def _judge(domain_id: int, facts: Facts, settings: Settings) -> Report:
    checked_at = Watch.objects.filter(pk=domain_id).values_list("checked_at", flat=True).first()
    earlier = moments_of(domain_id, seen_at=checked_at)
    return mark_blameless(domain_id, run(facts, earlier, lead_days=settings.watch.certificate_days), settings)


def mark_blameless(domain_id: int, report: Report, settings: Settings) -> Report:
    """What the domain's people chose, or only those of this installation can mend, is marked, so that it is no problem
    of theirs.
    """
    if settings.policy_host.nodes:
        report = mark_ours(report, {host for host, _ in settings.policy_nodes})
    if not any(each.code in OF_LEAVING for each in report.findings):
        return report
    domain = Domain.objects.filter(pk=domain_id).first()
    return mark_left(report) if domain is not None and has_left(domain) else report


def _keep(
    domain: Domain, report: Report, seen: Seen, settings: Settings, confirmed: frozenset[str]
) -> tuple[Moved, bool]:
    watch, _ = Watch.objects.select_related("current").get_or_create(
        domain=domain, defaults={"organisation_id": domain.organisation_id, "due_at": clock.now()}
    )
    before, found = watch.current, digest(report)
    is_same = before is not None and bytes(before.digest) == found
    if is_same and not watch.is_pending and not confirmed:
        if report.findings:
            note_seen([domain.pk])
        return Moved([], [], set()), False
    if not is_same:
        _add(domain, watch, report, found, seen, settings)
    first, first_deep = None, frozenset[str]()
    if before is not None and not is_same:
        first, first_deep = _first_seen(before), _first_deep(before, report.facts)
    basis = Basis(report.facts.at, dict(seen.looked_at), before is None, confirmed, first, first_deep)
    moved = settle(domain.organisation_id, domain.pk, report, basis, settings.problems)
    note_seen([domain.pk])
    if not is_same or moved.opened or moved.closed:
        judge_soon(domain.pk)
    return moved, moved.is_pending


def _first_seen(before: Check) -> Facts | None:
    """What the very first check saw, if this is it."""
    is_first = not Check.objects.filter(domain_id=before.domain_id, pk__lt=before.pk).exists()
    return facts_of(before) if is_first else None


def _first_deep(before: Check, facts: Facts) -> frozenset[str]:
    """MX hosts whose cipher suites were never asked for before."""
    known = sessions_of(list(before.looks.values_list("pk", flat=True)))
    return frozenset(host.name for host in facts.hosts if not has_ciphers(known.get(host.name, ())))


def _add(domain: Domain, watch: Watch, report: Report, found: bytes, seen: Seen, settings: Settings) -> None:
    now, before = clock.now(), watch.current
    told: Sequence[str] = ()
    if before is not None:
        then = report_of(before, report.facts.at, settings.watch.certificate_days)
        told = changes.describe(mark_blameless(domain.pk, then, settings), report)
        Check.objects.filter(pk=before.pk).update(last_at=now)
    check = Check.objects.create(
        id=new_id(),
        organisation_id=domain.organisation_id,
        domain=domain,
        first_at=now,
        digest=found,
        facts=pack_facts(without_looks(seen.facts)),
        findings=[[each.code.value, each.severity.value, each.about] for each in report.findings],
        letter=report.grade.letter if report.grade else "",
        changes=list(told),
    )
    check.looks.set(MxLook.objects.filter(pk__in=seen.look_ids))
    Watch.objects.filter(pk=domain.pk).update(current=check)
    rows = Check.objects.filter(domain=domain)
    old = rows.order_by("-id").values_list("id", flat=True)[settings.watch.keep_changes :]
    Check.objects.filter(pk__in=list(old)).delete()


def domains_with(host: str) -> list[int]:
    """Whose last check saw this MX host."""
    rows = Watch.objects.filter(current__looks__host=host).order_by("domain_id")
    return list(rows.values_list("domain_id", flat=True).distinct())


def rejudge(domain_id: int, host: str, settings: Settings) -> Moved | None:
    """Judge what was seen last of a domain by what its MX host shows now, which others have seen often enough."""
    watch = Watch.objects.select_related("current").filter(domain_id=domain_id).first()
    if watch is None or watch.current is None:
        return None
    facts = replace(unpack_facts(bytes(watch.current.facts)), at=clock.now())
    before = list(watch.current.looks.order_by("pk"))
    now = {
        (target.host, target.address): target
        for target in MxTarget.objects.select_related("current").filter(host=host, current__isnull=False)
    }
    ids, looked_at = [], dict[str, datetime]()
    for look in before:
        target = now.get((look.host, look.address))
        ids.append(target.current_id if target is not None and target.current_id else look.pk)
        looked_at[look.host] = (target.looked_at if target else None) or look.last_at
    facts = with_looks(facts, sessions_of(ids))
    seen = Seen(facts, tuple(ids), looked_at)
    report = _judge(domain_id, facts, settings)
    with transaction.atomic():
        domain = Domain.objects.select_for_update().filter(pk=domain_id).first()
        if domain is None:
            return None
        moved, is_pending = _keep(domain, report, seen, settings, frozenset({host}))
        Watch.objects.filter(pk=domain_id).update(is_pending=is_pending)
    return moved


def ask_now(organisation_id: int, domain_id: int, user_id: int, *, is_deep: bool = False) -> bool:
    """A person wants the domain checked at once, `is_deep`: with versions and ciphers. False: somebody did, moments
    ago, or deep looks had their turn for this hour, or the domain's ownership is not proved.
    """
    now = clock.now()
    with transaction.atomic():
        domain = Domain.objects.select_for_update().filter(pk=domain_id).first()
        if domain is None or (is_deep and not may_look_deeply(domain)):
            return False
        Watch.objects.get_or_create(
            domain_id=domain_id, defaults={"organisation_id": organisation_id, "due_at": now}
        )
        free = Q(asked_at__isnull=True) | Q(asked_at__lte=now - ASK_PAUSE) | Q(asked_at__gt=now)
        if not Watch.objects.filter(free, domain_id=domain_id).update(asked_at=now):
            return False
        AskedLook.objects.create(
            organisation_id=organisation_id,
            domain_id=domain_id,
            user_id=user_id,
            asked_at=now,
            is_deep=is_deep,
        )
        outbox.put("look", f"{'deep' if is_deep else 'domain'} {domain_id}")
    return True


def may_look_deeply(domain: Domain) -> bool:
    """Whether a deep look may be asked for now: ownership is proved, and none was asked for lately."""
    now = clock.now()
    asked = AskedLook.objects.filter(
        domain=domain, is_deep=True, asked_at__gt=now - DEEP_PAUSE, asked_at__lte=now
    )
    return domain.claim_verified_at is not None and not asked.exists()


def is_under_way(domain_id: int) -> bool:
    """Whether a check that somebody asked for has not ended."""
    keys = (f"domain {domain_id}", f"deep {domain_id}")
    return OutboxItem.objects.filter(kind="look", key__in=keys).exists()


class TooManyAsked(Exception):
    """The person has asked for as many checks as the settings allow in an hour."""


@transaction.atomic
def ask_about(organisation_id: int, user_id: int, name: str, settings: Settings) -> int:
    """Check any domain. Returns the id of the AskedCheck; one that is fresh serves again. Raises TooManyAsked."""
    now = clock.now()
    mine = AskedCheck.objects.filter(organisation_id=organisation_id, user_id=user_id, asked_at__lte=now)
    fresh = mine.filter(name=name, asked_at__gt=now - ASK_PAUSE).order_by("-id").first()
    if fresh is not None:
        return fresh.pk
    if mine.filter(asked_at__gt=now - timedelta(hours=1)).count() >= settings.watch.asks_per_hour:
        raise TooManyAsked
    asked = AskedCheck.objects.create(
        id=new_id(), organisation_id=organisation_id, user_id=user_id, name=name, asked_at=now
    )
    # somebody else's may serve too: what the Internet shows is nobody's secret
    theirs = AskedCheck.objects.filter(
        name=name, finished_at__gt=now - ASK_PAUSE, finished_at__lte=now, facts__isnull=False
    ).first()
    if theirs is not None:
        AskedCheck.objects.filter(pk=asked.pk).update(facts=theirs.facts, finished_at=now)
    else:
        outbox.put("look", f"asked {asked.pk}")
    return asked.pk


def asked_name(asked_id: int) -> str | None:
    """None: done, or gone."""
    return AskedCheck.objects.filter(pk=asked_id, finished_at=None).values_list("name", flat=True).first()


def keep_asked(asked_id: int, facts: Facts) -> None:
    AskedCheck.objects.filter(pk=asked_id).update(facts=pack_facts(facts), finished_at=clock.now())


def sweep(settings: Settings) -> None:
    """Throw away what has been kept long enough."""
    keep_until = clock.now() - timedelta(days=settings.watch.keep_days)
    Check.objects.filter(last_at__lt=keep_until).delete()
    AskedCheck.objects.filter(asked_at__lt=clock.now() - _KEEP_ASKED).delete()
    AskedLook.objects.filter(asked_at__lt=keep_until).delete()
    mxlooks.sweep(keep_until)
