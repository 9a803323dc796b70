"""Findings of checks become problems, and end them: the same path as failures that reports tell of.

A cause that both see is one problem. It is over for a domain when whoever saw it sees it no more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from mailward.config import Problems as Rules
from mailward.core.check.codes import RESULT_TYPES, Code
from mailward.core.check.facts import Facts
from mailward.core.check.finding import Finding
from mailward.core.check.run import Report
from mailward.core.explain.explanation import Severity
from mailward.core.watch import standing as stand
from mailward.core.watch.changes import place
from mailward.core.watch.standing import Standing, Step
from mailward.net import clock
from mailward.store.models import DomainRecipient, Problem, ProblemDomain, WatchFinding
from mailward.store.services import joining, outbox
from mailward.store.services.problems import close_gone

_MAX_EVIDENCE_CHARACTERS = 500
_AT_ONCE = frozenset((Code.MX_NOT_IN_POLICY.value,))
"""Not gathered with other domains first: mail is refused from now on, or somebody forges the DNS."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a report rests on, beside its facts."""

    at: datetime
    """When DNS and policy host were looked at."""
    looked_at: dict[str, datetime]
    """When each MX host was looked at last."""
    is_first_check: bool = False
    confirmed: frozenset[str] = frozenset()
    """Hosts of which others have seen often enough what is to be seen now."""
    first: Facts | None = None
    """What the very first check saw, where this is the one after it: what it could not observe is no news now."""
    first_deep: frozenset[str] = frozenset()
    """Hosts whose cipher suites were never asked for before: what is weak there may have been so for years."""


class Cause(NamedTuple):
    """What a problem is opened by: what is wrong, and where."""

    organisation_id: int
    domain_id: int
    code: str
    host: str


@dataclass(slots=True)
class Moved:
    """What a check did to the problems."""

    opened: list[int]
    closed: list[int]
    """Until `settle` returns: those that may be over."""
    hosts: set[str]
    """MX hosts where something opened or ended."""
    is_pending: bool = False


def settle(organisation_id: int, domain_id: int, report: Report, basis: Basis, rules: Rules) -> Moved:
    """Bring the findings of one domain up to date with a check, within the caller's transaction."""
    rows = {(row.code, row.about): row for row in WatchFinding.objects.filter(domain_id=domain_id)}
    there = {(each.code.value, each.about[:300]): each for each in report.findings if stand.weighs(each)}
    moved = Moved([], [], set())
    for key, finding in there.items():
        row = rows.get(key) or _begin(organisation_id, domain_id, finding, basis)
        _move(row, finding, report.facts, basis, rules, moved)
    for key, row in rows.items():
        if key not in there:
            _move(row, None, report.facts, basis, rules, moved)
    moved.closed = close_gone(moved.closed) if moved.closed else []
    return moved


def _begin(organisation_id: int, domain_id: int, finding: Finding, basis: Basis) -> WatchFinding:
    is_old = finding.code.startswith("cipher-") and place(finding.about) in basis.first_deep
    if basis.first is not None:
        is_old |= not stand.is_observed(basis.first, finding.code, finding.about, finding.evidence)
    standing = stand.begin(finding, is_first_check=basis.is_first_check or is_old)
    return WatchFinding(
        organisation_id=organisation_id,
        domain_id=domain_id,
        code=finding.code.value,
        about=finding.about[:300],
        host=place(finding.about)[:253],
        first_at=basis.at,
        last_at=basis.at,
        is_baseline=standing.is_baseline,
    )


def _move(
    row: WatchFinding, finding: Finding | None, facts: Facts, basis: Basis, rules: Rules, moved: Moved
) -> None:
    at = basis.looked_at.get(row.host, basis.at)
    standing, step = stand.advance(
        Standing(row.seen, row.clear, row.is_open, row.is_baseline),
        is_there=finding is not None,
        is_observed=stand.is_observed(facts, row.code, row.about, row.evidence),
        is_fresh=row.pk is None or at > row.last_at,
        is_confirmed=row.host in basis.confirmed,
        is_critical=finding is not None and finding.severity is Severity.CRITICAL,
    )
    if step is Step.FORGET:
        row.delete()
        return
    if finding is not None:
        row.severity = finding.severity.value
        row.evidence = [each[:_MAX_EVIDENCE_CHARACTERS] for each in finding.evidence]
    row.last_at = max(row.last_at, at)
    row.seen, row.clear, row.is_open = standing.seen, standing.clear, standing.is_open
    row.is_baseline = standing.is_baseline
    moved.is_pending = moved.is_pending or standing.is_pending
    if step is Step.OPEN:
        moved.opened.append(_open(row, rules))
        moved.hosts.add(row.host)
    elif step is Step.CLOSE:
        moved.closed += _close(row)
        moved.hosts.add(row.host)
        row.delete()
        return
    row.save()


def _open(row: WatchFinding, rules: Rules) -> int:
    return open_cause(Cause(row.organisation_id, row.domain_id, row.code, row.host), rules)


def open_cause(cause: Cause, rules: Rules) -> int:
    """The problem of this cause, opened or joined by the domain. Within the caller's transaction."""
    now = clock.now()
    problem = _find(cause)
    is_new = problem is None
    if problem is None:
        problem = Problem.objects.create(
            organisation_id=cause.organisation_id,
            result_type=cause.code,
            reported_as=_reported_as(cause.code),
            code=cause.code,
            host=cause.host,
            opened_at=now,
            first_day=now.date(),
            last_day=now.date(),
        )
    elif not problem.code:
        Problem.objects.filter(pk=problem.pk).update(code=cause.code)
    touched, joined = ProblemDomain.objects.get_or_create(
        problem=problem,
        domain_id=cause.domain_id,
        defaults={
            "organisation_id": cause.organisation_id,
            "first_day": now.date(),
            "last_day": now.date(),
            "is_reported": False,
        },
    )
    is_news = joined or not touched.is_checked
    touched.is_checked, touched.gone_at = True, None
    touched.last_day = max(touched.last_day, now.date())
    touched.save()
    Problem.objects.filter(pk=problem.pk, last_day__lt=now.date()).update(last_day=now.date())
    settled = now + timedelta(minutes=rules.settle_minutes)
    if is_new:
        outbox.put("notify", str(problem.pk), available_at=now if cause.code in _AT_ONCE else settled)
    elif cause.code in joining.OF_DOMAIN:
        if is_news and not joining.put(joining.Joined(problem.pk, cause.domain_id, cause.code), settled):
            outbox.put("notify", str(problem.pk), available_at=settled)
    elif joined and DomainRecipient.objects.filter(domain_id=cause.domain_id).exists():
        outbox.put("notify", str(problem.pk), available_at=settled)
    return problem.pk


def _find(cause: Cause) -> Problem | None:
    """The open problem of this cause: by its own name, or by that of the reports that tell of it."""
    there = Problem.objects.filter(
        organisation_id=cause.organisation_id, host=cause.host, closed_at__isnull=True
    ).order_by("id")
    for name in (cause.code, _reported_as(cause.code)):
        if name and (found := there.filter(result_type=name).first()) is not None:
            return found
    return None


def _close(row: WatchFinding) -> Sequence[int]:
    """The ids of the problems that may be over."""
    names, reported_as = [row.code], _reported_as(row.code)
    others = WatchFinding.objects.filter(domain_id=row.domain_id, host=row.host, is_open=True)
    # several causes may share the one word that reports have for them
    if reported_as and not any(
        _reported_as(code) == reported_as for code in others.exclude(pk=row.pk).values_list("code", flat=True)
    ):
        names.append(reported_as)
    return leave_causes(row.domain_id, row.host, names)


def leave_causes(domain_id: int, host: str, names: Sequence[str]) -> list[int]:
    """The domain shows these no longer. The ids of the problems that may be over."""
    touched = ProblemDomain.objects.filter(
        domain_id=domain_id,
        problem__host=host,
        problem__closed_at__isnull=True,
        problem__result_type__in=names,
        is_checked=True,
    )
    now = clock.now()
    ids = list(touched.values_list("problem_id", flat=True))
    touched.filter(is_reported=False).update(gone_at=now, last_day=now.date())
    touched.update(is_checked=False)
    return ids


def _reported_as(code: str) -> str:
    return RESULT_TYPES.get(Code(code), "") if code in set(Code) else ""


def note_seen(domain_ids: Iterable[int]) -> None:
    """What checks still show today lasts until today."""
    today = clock.today()
    rows = ProblemDomain.objects.filter(
        domain_id__in=list(domain_ids), is_checked=True, gone_at__isnull=True, last_day__lt=today
    )
    problems = list(rows.values_list("problem_id", flat=True))
    rows.update(last_day=today)
    Problem.objects.filter(pk__in=problems, closed_at__isnull=True, last_day__lt=today).update(last_day=today)
