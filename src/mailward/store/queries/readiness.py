"""Evidence for the way to enforce, gathered for many domains at once: a fixed number of queries for each 500."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from django.db.models import Max, QuerySet, Sum

from mailward.core.certificate import read_chain
from mailward.core.check.facts import Facts, Session
from mailward.core.check.rehearsal import may_cost_mail
from mailward.core.check.rejected import change_facts
from mailward.core.check.suppose import suppose_policy
from mailward.core.check.verdict import Kind, judge
from mailward.core.check.view import View
from mailward.core.mtasts.change import ChangeFacts, refuse
from mailward.core.mtasts.policy import Mode, Policy, serialise_policy
from mailward.core.mtasts.record import Record
from mailward.core.rollout.conditions import Conditions
from mailward.core.rollout.evidence import Evidence, Probe, Refused, Reporter
from mailward.core.rollout.jump import DayCount
from mailward.core.tlsrpt.schema import PolicyType
from mailward.core.watch.keeping import unpack_facts, unpack_session, with_looks, without_blind
from mailward.net import clock
from mailward.store.models import (
    Check,
    DailyFailures,
    DailyFetches,
    DailySessions,
    Domain,
    MxLook,
    Organisation,
    PolicyVersion,
    Watch,
)
from mailward.store.queries.evidence import chunks
from mailward.store.queries.fetches import fetch_totals

MAX_REFUSED = 200
"""Rows of refused sessions a domain; what is beyond is in the reporters' sums."""
LOOK_LASTS = timedelta(days=2)
"""What was seen so long ago decides over no change."""
_WEIGHED = (PolicyType.STS.value, PolicyType.NO_POLICY_FOUND.value)


@dataclass(frozen=True, slots=True)
class _Seen:
    probe: Probe
    refusals: tuple[str, ...]


@dataclass(slots=True)
class _Reports:
    reporters: tuple[Reporter, ...] = ()
    refused: tuple[Refused, ...] = ()
    dane_sessions: int = 0


def gather(domain_ids: Iterable[int], conditions: Conditions) -> dict[int, Evidence]:
    """By domain id. Reads without a transaction."""
    found: dict[int, Evidence] = {}
    for chunk in chunks(sorted(set(domain_ids))):
        found |= _gather(chunk, conditions)
    return found


def _gather(ids: Sequence[int], conditions: Conditions) -> dict[int, Evidence]:
    domains = Domain.objects.select_related("current_version").in_bulk(list(ids))
    since, probes = _mode_since(ids), _probes(ids, domains)
    reports = _reports(ids, conditions)
    must_prove = Organisation.objects.count() > 1
    now = clock.now()
    fetches = _fetches(ids, now.date() - timedelta(days=conditions.window_days))
    found = {}
    for domain_id, domain in domains.items():
        version, seen = domain.current_version, reports.get(domain_id, _Reports())
        found[domain_id] = Evidence(
            now=now,
            mode=Mode(version.mode) if version else None,
            mode_since=since.get(domain_id),
            max_age_seconds=version.max_age_seconds if version else 0,
            is_served=version is not None and not (must_prove and domain.claim_verified_at is None),
            reporters=seen.reporters,
            refused=seen.refused,
            dane_sessions=seen.dane_sessions,
            probe=probes[domain_id].probe if domain_id in probes else None,
            fetches=fetches.get(domain_id, 0) if fetches is not None else None,
            refusals=probes[domain_id].refusals if domain_id in probes else (),
        )
    return found


def _fetches(ids: Sequence[int], since: date) -> dict[int, int] | None:
    """None: nothing at all was counted, as where another server answers in our place."""
    if not DailyFetches.objects.filter(day__gte=since).exists():
        return None
    return {key: total.fetches for key, total in fetch_totals(ids, since).items()}


def _mode_since(ids: Sequence[int]) -> dict[int, datetime]:
    """When the unbroken run of versions began whose mode is the last one's."""
    rows = PolicyVersion.objects.filter(domain_id__in=ids).order_by("domain_id", "number")
    modes: dict[int, str] = {}
    since: dict[int, datetime] = {}
    for domain_id, mode, created_at in rows.values_list("domain_id", "mode", "created_at"):
        if modes.get(domain_id) != mode:
            modes[domain_id], since[domain_id] = mode, created_at
    return since


def _reports(ids: Sequence[int], conditions: Conditions) -> dict[int, _Reports]:
    today = clock.today()
    first = today - timedelta(days=conditions.window_days)
    recent_from = today - timedelta(days=conditions.recent_days)
    refused, recent_refused = _refused(ids, first, today, recent_from)
    recent: dict[tuple[int, str, str], int] = {
        (domain_id, kind, name): ok + failed
        for domain_id, kind, name, ok, failed in _sessions(ids, recent_from, today)
        .values_list("domain_id", "policy_type", "reporter")
        .annotate(Sum("ok"), Sum("failed"))
    }
    found: dict[int, _Reports] = defaultdict(_Reports)
    rows = _sessions(ids, first, today).values_list("domain_id", "policy_type", "reporter")
    for domain_id, kind, name, ok, failed, last in rows.annotate(Sum("ok"), Sum("failed"), Max("day")):
        if kind == PolicyType.TLSA:
            found[domain_id].dane_sessions += ok + failed
        elif kind in _WEIGHED:
            key = (domain_id, kind, name)
            # details and totals of a report may disagree: the larger number of sessions is the safe one
            row = Reporter(name, kind, ok + failed, recent.get(key, 0), recent_refused.get(key, 0), last)
            found[domain_id].reporters += (row,)
    for domain_id, failures in refused.items():
        found[domain_id].refused = tuple(sorted(failures, key=lambda row: -row.sessions)[:MAX_REFUSED])
    for each in found.values():
        each.reporters = tuple(sorted(each.reporters, key=lambda row: (-row.sessions, row.name)))
    return found


def _sessions(ids: Sequence[int], first: date, last: date) -> QuerySet[DailySessions]:
    return DailySessions.objects.filter(domain_id__in=ids, day__range=(first, last)).order_by()


def _refused(
    ids: Sequence[int], first: date, last: date, recent_from: date
) -> tuple[dict[int, list[Refused]], dict[tuple[int, str, str], int]]:
    rows = DailyFailures.objects.filter(
        domain_id__in=ids, day__range=(first, last), policy_type__in=_WEIGHED, sessions__gt=0
    ).order_by()
    found: dict[int, list[Refused]] = defaultdict(list)
    recent: dict[tuple[int, str, str], int] = defaultdict(int)
    for domain_id, reporter, host, result_type, sessions, day in rows.values_list(
        "domain_id", "reporter", "host", "result_type"
    ).annotate(Sum("sessions"), Max("day")):
        if may_cost_mail(result_type):
            found[domain_id].append(Refused(reporter, host, result_type, sessions, day))
    for domain_id, kind, reporter, result_type, sessions in (
        rows.filter(day__gte=recent_from)
        .values_list("domain_id", "policy_type", "reporter", "result_type")
        .annotate(Sum("sessions"))
    ):
        if may_cost_mail(result_type):
            recent[domain_id, kind, reporter] += sessions
    return found, recent


def day_counts(ids: Sequence[int], days: int) -> dict[int, list[DayCount]]:
    """Sessions under the policy a day, and those of them that were refused, of the last so many days."""
    today = clock.today()
    first = today - timedelta(days=days)
    refused: dict[tuple[int, date], int] = defaultdict(int)
    rows = DailyFailures.objects.filter(
        domain_id__in=ids, day__range=(first, today), policy_type=PolicyType.STS.value
    ).order_by()
    for domain_id, day, result_type, count in rows.values_list("domain_id", "day", "result_type").annotate(
        Sum("sessions")
    ):
        if may_cost_mail(result_type):
            refused[domain_id, day] += count
    found: dict[int, list[DayCount]] = defaultdict(list)
    sessions = _sessions(ids, first, today).filter(policy_type=PolicyType.STS.value)
    for domain_id, day, ok, failed in sessions.values_list("domain_id", "day").annotate(
        Sum("ok"), Sum("failed")
    ):
        found[domain_id].append(DayCount(day, ok + failed, refused[domain_id, day]))
    return found


def _probes(ids: Sequence[int], domains: Mapping[int, Domain]) -> dict[int, _Seen]:
    """What the last look at each saw, under its current policy as if that were enforced."""
    found = {}
    for domain_id, facts, at in _last_looks(ids):
        domain = domains.get(domain_id)
        if domain is not None and domain.current_version is not None:
            probe = _probe(facts, at, domain.current_version)
            found[domain_id] = _Seen(probe, _refusals(facts, probe, domain.current_version))
    return found


def change_facts_of(policies: Mapping[int, Policy]) -> dict[int, ChangeFacts]:
    """Domain -> what decides whether its policy may be changed to this one, by our last look. Domains that nobody has
    looked at lately are not there. `current` is None, or what was seen to be live: the caller knows what we serve.
    """
    found = {}
    for chunk in chunks(sorted(policies)):
        for domain_id, facts, at in _last_looks(chunk):
            if clock.now() - at <= LOOK_LASTS:
                found[domain_id] = change_facts(facts, policies[domain_id], View(facts).published)
    return found


def _last_looks(ids: Sequence[int]) -> Iterator[tuple[int, Facts, datetime]]:
    """Domain, what was seen, as if seen now, and when it was."""
    watches = list(
        Watch.objects.filter(domain_id__in=ids, current__isnull=False, checked_at__isnull=False)
        .select_related("current")
        .order_by()
    )
    looks, now = _looks(watches), clock.now()
    for watch in watches:
        if (check := watch.current) is not None and watch.checked_at is not None:
            facts = with_looks(unpack_facts(bytes(check.facts)), looks.get(check.pk, {}))
            yield watch.domain_id, replace(facts, at=now), watch.checked_at


def _refusals(facts: Facts, probe: Probe, version: PolicyVersion) -> tuple[str, ...]:
    """Why the change to enforce would be refused, beside what the probe tells of its hosts already."""
    if version.mode != Mode.TESTING or not version.mx:
        return ()
    enforce = Policy(Mode.ENFORCE, version.max_age_seconds, tuple(version.mx))
    current = replace(enforce, mode=Mode.TESTING)
    refusals = refuse(enforce, change_facts(facts, enforce, current))
    return tuple(str(each) for each in refusals if each.about not in probe.refuses)


def _looks(watches: Sequence[Watch]) -> dict[int, dict[str, list[Session]]]:
    """Check id -> host -> its sessions. A look that many domains share is read once."""
    through = Check.looks.through
    checks = [watch.current_id for watch in watches]
    pairs = list(
        through.objects.filter(check_id__in=checks).order_by("mxlook_id").values_list("check_id", "mxlook_id")
    )
    rows: dict[int, tuple[str, Session]] = {}
    for chunk in chunks(sorted({look_id for _, look_id in pairs})):
        for look_id, host, session in MxLook.objects.filter(pk__in=chunk).values_list(
            "pk", "host", "session"
        ):
            rows[look_id] = host, unpack_session(bytes(session))
    found: dict[int, dict[str, list[Session]]] = defaultdict(lambda: defaultdict(list))
    for check_id, look_id in pairs:
        if look_id in rows:
            name, seen = rows[look_id]
            found[check_id][name].append(seen)
    return found


def _probe(facts: Facts, checked_at: datetime, version: PolicyVersion) -> Probe:
    facts = without_blind(facts)
    accepts, refuses, unobserved, ends = _under_enforce(facts, version)
    bodies = [fetch.body for fetch in facts.policy_host.fetches if fetch.has_body]
    record = View(facts).record
    chains = [read_chain(fetch.tls.chain) for fetch in facts.policy_host.fetches if fetch.tls]
    return Probe(
        checked_at=checked_at,
        accepts=accepts,
        refuses=refuses,
        unobserved=unobserved,
        mx_ends_at=ends,
        policy_ends_at=min((chain[0].not_after for chain in chains if chain), default=None),
        policy_seen=version.text.encode() in bodies,
        id_seen=isinstance(record, Record) and record.policy_id == version.policy_id,
    )


def _under_enforce(
    facts: Facts, version: PolicyVersion
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], datetime | None]:
    if version.mode == Mode.NONE or not version.mx:
        return (), (), (), None
    policy = Policy(Mode.ENFORCE, version.max_age_seconds, tuple(version.mx))
    supposed = suppose_policy(facts, serialise_policy(policy).encode())
    verdict = next(each for each in judge(View(supposed)) if each.kind is Kind.MTA_STS)
    return verdict.accepted, verdict.refused, verdict.unobserved, verdict.changes_at
