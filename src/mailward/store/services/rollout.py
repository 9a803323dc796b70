"""The way to enforce: domains are judged again and again, and what people chose is done when the conditions hold.

Evidence is read without a transaction; what was decided is written in a short one. A promotion or a step back starts
from the version that was judged, so that two workers, or a person in between, never publish on old evidence.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F, Q

from mailward.config import Settings
from mailward.core.explain.rollout import JUMPED, say_reason, say_stepped_back, say_verdict
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid
from mailward.core.rollout.conditions import Conditions
from mailward.core.rollout.evidence import Evidence
from mailward.core.rollout.jump import Jump, find_jump
from mailward.core.rollout.verdict import State, Verdict, judge, may_step_back
from mailward.net import clock
from mailward.store.models import (
    Domain,
    DomainEvent,
    PolicyVersion,
    ProblemDomain,
    Rollout,
    WatchFinding,
)
from mailward.store.queries.evidence import chunks
from mailward.store.queries.readiness import day_counts, gather
from mailward.store.scope import Scope
from mailward.store.services import history, outbox, promotions
from mailward.store.services.automatic import Choice
from mailward.store.services.findings import Cause, open_cause
from mailward.store.services.notices import queue_notice
from mailward.store.services.policies import (
    ChangedMeanwhile,
    ChangeRefused,
    PolicyUnchanged,
    change_policy,
    publish_policy,
)
from mailward.store.services.problems import close_gone

EVERY = timedelta(hours=1)
_GAP = timedelta(days=1)
"""Longer without a look, and the time that a domain has been ready begins anew."""


class NotReady(Exception):
    """The conditions do not hold; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(say_verdict(verdict))
        self.verdict = verdict


@dataclass(slots=True)
class _Judged:
    """One domain, on its way through a round."""

    domain: Domain
    row: Rollout
    evidence: Evidence
    verdict: Verdict
    before: str
    jump: Jump | None = None


def judge_due(settings: Settings, limit: int) -> int:
    """Judge those that were not for an hour, or since their policy or what probes see changed, at most `limit` of them.
    Returns how many.

    Raises what one of them failed with, once all others are judged; that one is tried again in an hour.
    """
    old = Q(rollout__isnull=True) | Q(rollout__judged_at__isnull=True)
    now = clock.now()
    # a clock that went back must neither stop everything until it has caught up, nor judge without an end
    old |= Q(rollout__judged_at__lte=now - EVERY) | Q(rollout__judged_at__gt=now + EVERY)
    version = F("current_version__created_at")
    old |= Q(current_version__created_at__lte=now, rollout__judged_at__lt=version)
    # PostgreSQL would put those that were never judged last
    oldest = Domain.objects.filter(old).order_by(F("rollout__judged_at").asc(nulls_first=True), "pk")
    due = list(oldest.values_list("pk", flat=True)[:limit])
    failed: Exception | None = None
    for chunk in chunks(due):
        try:
            judge_domains(chunk, settings)
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001 - what cannot be read of one domain must not stop all others for ever
            failed = _judge_apart(chunk, settings) or failed
    if failed is not None:
        raise failed
    return len(due)


def judge_soon(domain_id: int) -> None:
    """What our probes see has changed. It is judged as if its hour were over; the days of readiness go on."""
    over = clock.now() - EVERY
    Rollout.objects.filter(domain_id=domain_id, judged_at__gt=over).update(judged_at=over)


def _judge_apart(domain_ids: Sequence[int], settings: Settings) -> Exception | None:
    """One by one; those that fail are put off. Returns what the last of them failed with."""
    failed = None
    for domain in Domain.objects.filter(pk__in=domain_ids):
        try:
            judge_domains([domain.pk], settings)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised by the caller
            failed = error
            defaults = {"organisation_id": domain.organisation_id, "judged_at": clock.now()}
            Rollout.objects.update_or_create(domain=domain, defaults=defaults)
    return failed


def judge_domains(domain_ids: Sequence[int], settings: Settings) -> None:
    """Judge these now, and do what follows."""
    judged = _judge(domain_ids, settings.rollout)
    with transaction.atomic():
        _write(judged)
        _alert(judged, settings)
        # the live MX records are asked first, which is no work for here
        outbox.put_many(outbox.Item("promote", str(each.domain.pk)) for each in judged if _is_due(each))
    _step_back([each for each in judged if each.row.steps_back])


def _judge(domain_ids: Sequence[int], conditions: Conditions) -> list[_Judged]:
    domains = Domain.objects.select_related("current_version").in_bulk(list(domain_ids))
    rows = Rollout.objects.in_bulk(list(domain_ids))
    evidence = gather(domains, conditions)
    enforced = [key for key, each in evidence.items() if each.mode is Mode.ENFORCE]
    counts = day_counts(enforced, conditions.window_days)
    judged = []
    for domain_id, each in evidence.items():
        domain = domains[domain_id]
        row = rows.get(domain_id) or Rollout(domain=domain, organisation_id=domain.organisation_id)
        verdict = judge(each, conditions)
        item = _Judged(domain, row, each, verdict, row.state, find_jump(counts.get(domain_id, [])))
        _bring_up_to_date(item)
        judged.append(item)
    return judged


def _bring_up_to_date(each: _Judged) -> None:
    row, now = each.row, each.evidence.now
    if each.verdict.state is not State.READY:
        row.ready_since = None
    elif row.ready_since is None or row.judged_at is None or now - row.judged_at > _GAP:
        row.ready_since = now
    row.state, row.codes, row.judged_at = each.verdict.state.value, list(each.verdict.codes), now
    row.sentence = say_reason(each.verdict.reasons[0])[:1000] if each.verdict.reasons else ""


def _write(judged: Sequence[_Judged]) -> None:
    there = set(
        Domain.objects.filter(pk__in=[each.domain.pk for each in judged]).values_list("pk", flat=True)
    )
    Rollout.objects.bulk_create(
        [each.row for each in judged if each.domain.pk in there],
        update_conflicts=True,
        unique_fields=["domain"],
        # what people chose meanwhile is theirs
        update_fields=["state", "codes", "sentence", "judged_at", "ready_since"],
    )
    DomainEvent.objects.bulk_create(
        _event(each.domain, history.Kind.ROLLOUT_STATE, say_verdict(each.verdict))
        for each in judged
        if each.domain.pk in there and _is_news(each)
    )


def _is_news(each: _Judged) -> bool:
    if each.before == each.row.state:
        return False
    if each.verdict.state is State.NO_POLICY:
        return (
            bool(each.before) and each.before != State.NONE
        )  # the plan to leave says itself that it is done
    return bool(each.before or each.evidence.mode)


def _event(
    domain: Domain, kind: history.Kind, text: str, author_id: int | None = None, reason: str = ""
) -> DomainEvent:
    return history.make(domain.organisation_id, domain.pk, kind, text, author_id=author_id, reason=reason)


def _alert(judged: Sequence[_Judged], settings: Settings) -> None:
    """Open the problem of those whose refused sessions jump, end it for the others. What reports tell does no more."""
    open_rows = ProblemDomain.objects.filter(
        domain_id__in=[each.domain.pk for each in judged],
        problem__result_type=JUMPED,
        problem__closed_at__isnull=True,
        gone_at__isnull=True,
    )
    alerted = set(open_rows.values_list("domain_id", flat=True))
    now = clock.now()
    for each in judged:
        if each.jump is None or each.domain.pk in alerted:
            continue
        host = next((row.mx for row in each.evidence.refused if row.last_day >= each.jump.first), "")
        cause = Cause(each.domain.organisation_id, each.domain.pk, JUMPED, host[:253])
        open_cause(cause, settings.problems)
        _event(each.domain, history.Kind.ROLLOUT_JUMP, _say_jump(each.jump)).save()
    over = [each.domain.pk for each in judged if each.jump is None and each.domain.pk in alerted]
    if over:
        problems = list(open_rows.filter(domain_id__in=over).values_list("problem_id", flat=True))
        open_rows.filter(domain_id__in=over).update(gone_at=now, is_checked=False, last_day=now.date())
        close_gone(problems)


def _say_jump(jump: Jump) -> str:
    return (
        f"Refused sessions jumped: {jump.refused:,} of {jump.sessions:,} from {jump.first} to {jump.last}, "
        f"{jump.before_percent:.1f} % before. This may be the attack that the policy is there to stop: it stays."
    )


def _is_due(each: _Judged) -> bool:
    since = each.row.ready_since
    if not each.row.is_automatic or each.verdict.state is not State.READY or since is None:
        return False
    return each.evidence.now - since >= timedelta(days=each.row.hold_days)


def enforcing(domain_id: int) -> tuple[Policy, int] | None:
    """What a promotion would publish: the present policy in mode enforce, and the number of the version that it starts
    from. None: it is not in testing.
    """
    domain = Domain.objects.select_related("current_version").filter(pk=domain_id).first()
    version = domain.current_version if domain is not None else None
    if version is None or version.mode != Mode.TESTING:
        return None
    return Policy(Mode.ENFORCE, version.max_age_seconds, tuple(version.mx)), version.number


def promote_by_itself(
    domain_id: int, facts: ChangeFacts, based_on: int, conditions: Conditions
) -> PolicyVersion | None:
    """Enforce it if the conditions still hold and the change is not refused. None: they do not, or it is."""
    row = Rollout.objects.filter(domain_id=domain_id).first()
    judged = _judge([domain_id], conditions)
    if row is None or not judged or not _is_due(judged[0]) or not row.is_automatic:
        return None
    days = row.hold_days
    reason = f"Automatic: the conditions held for {days} day{'' if days == 1 else 's'}."
    domain, evidence = judged[0].domain, judged[0].evidence
    if domain.current_version is None or domain.current_version.number != based_on:
        return None
    try:
        with transaction.atomic():
            version = _promote(domain, facts, reason, evidence, None)
            promotions.put(domain.pk)
        return version
    except ChangeRefused as error:
        text = f"Not enforced: {error}"
        if not DomainEvent.objects.filter(
            domain=domain, kind=history.Kind.ROLLOUT_REFUSED, text=text[:500]
        ).exists():
            _event(domain, history.Kind.ROLLOUT_REFUSED, text).save()
    except (ChangedMeanwhile, PolicyUnchanged, PolicyInvalid):
        pass  # somebody was faster
    return None


@transaction.atomic
def _promote(
    domain: Domain, facts: ChangeFacts, reason: str, evidence: Evidence, author_id: int | None
) -> PolicyVersion:
    current = domain.current_version
    if current is None:
        raise ChangedMeanwhile
    version = change_policy(
        domain.organisation_id,
        domain.pk,
        Policy(Mode.ENFORCE, current.max_age_seconds, tuple(current.mx)),
        facts,
        author_id=author_id,
        reason=reason,
        based_on=current.number,
    )
    _event(
        domain, history.Kind.ROLLOUT_PROMOTED, f"Enforced on {_say_evidence(evidence)}", author_id, reason
    ).save()
    Rollout.objects.filter(domain=domain).update(judged_at=None)
    return version


def _say_evidence(evidence: Evidence) -> str:
    applied = [each for each in evidence.reporters if each.policy_type == "sts"]
    names = ", ".join(each.name for each in applied[:5])
    return f"{evidence.sts_sessions:,} sessions under the policy, reported by {names or 'nobody'}."


def promote(
    scope: Scope, domain_id: int, facts: ChangeFacts, *, reason: str, based_on: int, conditions: Conditions
) -> PolicyVersion:
    """A person enforces the policy that is in testing. `facts`: what is so now (worker.changing.learn_facts).

    Raises Domain.DoesNotExist, NotReady, ChangeRefused, ChangedMeanwhile.
    """
    domain = scope.domains().select_related("current_version").get(pk=domain_id)
    if domain.current_version is None or domain.current_version.number != based_on:
        raise ChangedMeanwhile
    evidence = gather([domain_id], conditions)[domain_id]
    verdict = judge(evidence, conditions)
    if verdict.state is not State.READY:
        raise NotReady(verdict)
    return _promote(domain, facts, reason or "Enforced on evidence.", evidence, scope.user_id)


@transaction.atomic
def choose(
    scope: Scope, domain_ids: Iterable[int], *, is_automatic: bool, hold_days: int, steps_back: bool
) -> int:
    """What happens by itself to these domains. Returns for how many that is new."""
    changed, now = 0, clock.now()
    wanted = {"is_automatic": is_automatic, "hold_days": hold_days, "steps_back": steps_back}
    for chunk in chunks(sorted(set(domain_ids))):
        domains = scope.domains().in_bulk(list(chunk))
        rows = Rollout.objects.in_bulk(list(domains))
        # nothing chosen is what a new row says
        new = [
            domain
            for key, domain in domains.items()
            if any(getattr(rows.get(key) or Rollout(), name) != value for name, value in wanted.items())
        ]
        Rollout.objects.bulk_create(
            (
                Rollout(domain=domain, organisation_id=domain.organisation_id, chosen_at=now, **wanted)
                for domain in domains.values()
            ),
            update_conflicts=True,
            unique_fields=["domain"],
            update_fields=[*wanted, "chosen_at"],
        )
        DomainEvent.objects.bulk_create(
            _event(
                domain,
                history.Kind.ROLLOUT_CHOSEN,
                _say_choice(is_automatic, hold_days, steps_back),
                scope.user_id,
            )
            for domain in new
        )
        changed += len(new)
    return changed


def _say_choice(is_automatic: bool, hold_days: int, steps_back: bool) -> str:
    back = "step back" if steps_back else "never step back"
    return f"{Choice(is_automatic, hold_days)}; {back} to testing by itself."


def _step_back(judged: Sequence[_Judged]) -> None:
    if not judged:
        return
    confirmed = _confirmed([each.domain.pk for each in judged])
    for each in judged:
        hosts = may_step_back(each.evidence, confirmed.get(each.domain.pk, {}))
        if hosts:
            text = (
                f"Back to testing by itself: our own probes show that strict senders refuse {', '.join(hosts)}. "
                f"{say_old_copies(each.evidence.max_age_seconds)}"
            )
            _go_back(each.domain, text, hosts)


@transaction.atomic
def _go_back(domain: Domain, text: str, hosts: tuple[str, ...]) -> None:
    current = domain.current_version
    if current is None:
        return
    try:
        publish_policy(
            domain.organisation_id,
            domain.pk,
            Policy(Mode.TESTING, current.max_age_seconds, tuple(current.mx)),
            author_id=None,
            reason=text[:500],
            based_on=current.number,
        )
    except (ChangedMeanwhile, PolicyUnchanged):
        return
    _event(domain, history.Kind.ROLLOUT_STEPPED_BACK, text).save()
    Rollout.objects.filter(domain=domain).update(judged_at=None, ready_since=None)
    queue_notice(
        domain.organisation_id,
        domain.pk,
        *say_stepped_back(domain.name, hosts, say_old_copies(current.max_age_seconds)),
        page=f"/domains/{domain.name}/rollout/",
    )


def say_old_copies(max_age_seconds: int) -> str:
    """How long a weaker policy changes nothing for some (RFC 8461 section 3.3)."""
    days, hours = divmod(max_age_seconds // 3600, 24)
    lasting = f"{days} days" if days > 1 else f"{days * 24 + hours} hours"
    return (
        f"Senders that do not see the new id keep enforcing the copy that they hold, for up to {lasting} "
        "from when they fetched it."
    )


def _confirmed(domain_ids: Sequence[int]) -> Mapping[int, Mapping[str, set[str]]]:
    """Domain -> MX host -> codes of the findings that two of our looks in a row showed."""
    found: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for chunk in chunks(domain_ids):
        rows = WatchFinding.objects.filter(domain_id__in=chunk, is_open=True, clear=0)
        for domain_id, host, code in rows.values_list("domain_id", "host", "code"):
            found[domain_id][host].add(code)
    return found


def ready_at(row: Rollout) -> datetime | None:
    """When it is enforced by itself, if nothing changes; None: not by itself, or not ready."""
    if not row.is_automatic or row.ready_since is None:
        return None
    return row.ready_since + timedelta(days=row.hold_days)
