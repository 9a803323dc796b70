"""Checks as pages show them: what is so now, what was, and what people asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from mailward.core.check.facts import Facts, Session
from mailward.core.check.history import make_moment
from mailward.core.check.run import Report, run
from mailward.core.check.schema import Moment
from mailward.core.watch.keeping import unpack_facts, unpack_session, with_looks, without_blind
from mailward.store.models import AskedCheck, AskedLook, Check, MxLook, MxTarget, Watch
from mailward.store.scope import Scope

PAGE_ROWS = 20
_RECENT = 10
_MOST_ASKS = 60
_HISTORY_STATES = 30


@dataclass(frozen=True, slots=True)
class StateRow:
    """What a domain was like for a while."""

    id: int
    first_at: datetime
    last_at: datetime | None
    """None: it still is."""
    letter: str
    changes: tuple[str, ...]
    counts: Mapping[str, int]
    """Severity -> how many findings."""


@dataclass(frozen=True, slots=True)
class StatePage:
    rows: tuple[StateRow, ...]
    number: int
    pages: int
    total: int


def watch_of(scope: Scope, domain_id: int) -> Watch | None:
    """With its current check. None: it has no place in the schedule yet."""
    return scope.watches().select_related("current").filter(domain_id=domain_id).first()


def check_of(scope: Scope, domain_id: int, check_id: int) -> Check | None:
    return scope.checks().filter(domain_id=domain_id, pk=check_id).first()


def states_of(scope: Scope, domain_id: int, page: int = 1) -> StatePage:
    """The latest first."""
    found = scope.checks().filter(domain_id=domain_id).order_by("-id")
    total = found.count()
    pages = max(1, -(-total // PAGE_ROWS))
    number = min(max(page, 1), pages)
    rows = found.defer("facts", "digest")[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    return StatePage(tuple(_row(each) for each in rows), number, pages, total)


def state_before(scope: Scope, domain_id: int, check_id: int) -> int | None:
    rows = scope.checks().filter(domain_id=domain_id, pk__lt=check_id).order_by("-id")
    return rows.values_list("pk", flat=True).first()


def facts_of(check: Check, at: datetime | None = None) -> Facts:
    """What was seen then, its sessions too; as of `at` where that is given."""
    facts = unpack_facts(bytes(check.facts))
    ids = check.looks.order_by("pk").values_list("pk", flat=True)
    facts = with_looks(facts, sessions_of(list(ids)))
    return facts if at is None else replace(facts, at=at)


def report_of(check: Check, at: datetime | None, lead_days: int) -> Report:
    """Judged by the rules of today, beside what was before. `lead_days`: see core.check.run."""
    return run(facts_of(check, at), moments_of(check.domain_id, before=check.pk), lead_days=lead_days)


def report_now(watch: Watch, check: Check, at: datetime, lead_days: int) -> Report:
    """Of the present state. What the last check did not observe is in `watch.unobserved`."""
    earlier = moments_of(check.domain_id, seen_at=watch.checked_at)
    return run(without_blind(facts_of(check, at)), earlier, lead_days=lead_days)


def moments_of(domain_id: int, *, before: int | None = None, seen_at: datetime | None = None) -> list[Moment]:
    """What the domain was like, for what only shows over time: the beginning and the end of each state.

    `before`: of states before this one. `seen_at`: when the present state was seen last.
    """
    rows = Check.objects.filter(domain_id=domain_id).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    moments = []
    for row in rows[:_HISTORY_STATES]:
        moment = make_moment(facts_of(row))
        moments.append(moment)
        last_at = row.last_at or seen_at
        if last_at is not None and last_at > moment.at:
            moments.append(msgspec.structs.replace(moment, at=last_at))
    return moments


def sessions_of(look_ids: Sequence[int]) -> dict[str, list[Session]]:
    """By the name of the host, in the order of the ids."""
    rows = MxLook.objects.in_bulk(list(look_ids))
    found: dict[str, list[Session]] = {}
    for look_id in look_ids:
        if (row := rows.get(look_id)) is not None:
            found.setdefault(row.host, []).append(unpack_session(bytes(row.session)))
    return found


def problems_of_findings(scope: Scope, domain_id: int) -> dict[tuple[str, str], int]:
    """(code or result type, host) -> the open problem that touches the domain."""
    rows = scope.problem_domains().filter(
        domain_id=domain_id, gone_at__isnull=True, problem__closed_at__isnull=True
    )
    found = {}
    for code, result_type, host, problem_id in rows.values_list(
        "problem__code", "problem__result_type", "problem__host", "problem_id"
    ):
        found[code or result_type, host] = problem_id
    return found


def asked_looks(scope: Scope, domain_id: int, page: StatePage) -> list[AskedLook]:
    """Who asked for a look during the states of this page, the latest first, with their users."""
    if not page.rows:
        return []
    found = scope.asked_looks().filter(domain_id=domain_id, asked_at__gte=page.rows[-1].first_at)
    if (until := page.rows[0].last_at) is not None:
        found = found.filter(asked_at__lt=until)
    return list(found.select_related("user").order_by("-asked_at", "-id")[:_MOST_ASKS])


def deep_at(check: Check) -> datetime | None:
    """When the MX hosts of this state were last looked at deeply; None: never, as far as is known."""
    hosts = check.looks.values_list("host", flat=True)
    found = MxTarget.objects.filter(host__in=list(hosts), deep_at__isnull=False)
    return found.order_by("deep_at").values_list("deep_at", flat=True).first()


def asked_check(scope: Scope, asked_id: int) -> AskedCheck | None:
    """Of the person's own."""
    return scope.asked_checks().filter(pk=asked_id, user_id=scope.user_id).first()


def asked_lately(scope: Scope) -> list[AskedCheck]:
    """What the person asked about, the latest first."""
    found = scope.asked_checks().filter(user_id=scope.user_id).defer("facts")
    return list(found.order_by("-id")[:_RECENT])


def _row(check: Check) -> StateRow:
    counts: dict[str, int] = {}
    for _, severity, _ in check.findings:
        counts[severity] = counts.get(severity, 0) + 1
    return StateRow(check.pk, check.first_at, check.last_at, check.letter, tuple(check.changes), counts)
