"""Who is told of a problem: each person once, by one mail.

People are the members who want to hear of all domains, and those who were named to hear of a single one. A
row says that a person is told; it is written together with the mail's outbox item, before anything is sent.
Problems of one kind that are told at the same time share a mail: policy hosts that break for a thousand
domains are one.

The threat: whoever has a domain can sign reports of whatever he likes, each of which opens a problem. So a
person gets a few mails a day by themselves; further problems wait, and then share one mail whatever their kind.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet, Sum
from django.db.models.functions import Lower

from mailward.net import clock
from mailward.store.models import (
    DailyFailures,
    Membership,
    Notification,
    OutboxItem,
    Problem,
    ProblemDomain,
    ServiceState,
)
from mailward.store.queries.evidence import chunks
from mailward.store.queries.sightings import sighting_of
from mailward.store.services import outbox

RELAY = "relay"
"""The name of the mail relay in ServiceState."""
_TOOK = "relay-took"
"""The name of when the relay last took a mail for anybody."""
GIVEN_UP_AFTER = timedelta(days=3)
"""So long a recipient is tried whom the relay refuses for good, while it takes nothing for anybody else either."""
_GIVEN_UP_WITHIN = timedelta(days=30)
_MOST_GIVEN_UP = 1_000
CLOCK = "clock "
"""What the names of the machines' clocks begin with."""
SHOWN = 10
"""So many domains, hosts and reporters a mail names; of the others it says how many."""
_SHOWN_EVIDENCE = 4
MAILS_A_DAY = 5
"""To one person, of one organisation, before what is new has to wait and share a mail."""
SHARED_EVERY = timedelta(hours=4)
_DAY = timedelta(days=1)
_REPORTER_DAYS = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Letter:
    """What one mail tells one person."""

    message_id: str
    recipient: str
    has_login: bool
    queued_at: datetime
    organisation: str
    result_types: tuple[str, ...]
    """Result types or codes of findings. Of one mail nearly always one; those of most domains first."""
    problem_ids: tuple[int, ...]
    """All of one organisation."""
    hosts: tuple[str, ...]
    """The first hosts by number of domains; "": reports do not say."""
    host_count: int
    domains: tuple[str, ...]
    """The first by name, of those that concern this person."""
    domain_count: int
    sessions: int
    reporters: tuple[str, ...]
    """The first by failed sessions, as seen for the domains named here."""
    reporter_count: int
    first_day: date
    last_day: date
    checked: int = 0
    """Domains for which our own checks show it."""
    seen: tuple[str, ...] = ()
    """What one of those checks saw, as it saw it: strangers wrote it."""


def queue(problem_ids: Iterable[int], sender_domain: str) -> int:
    """Put a mail in the outbox for all who have not been told of these problems. Returns how many mails."""
    ids = sorted(set(problem_ids))
    problems: dict[int, Problem] = {}
    for chunk in chunks(ids):
        problems |= Problem.objects.filter(closed_at__isnull=True).in_bulk(list(chunk))
    concerned = _concerned(problems)
    told = {
        row
        for chunk in chunks(list(problems))
        for row in Notification.objects.filter(problem_id__in=chunk).values_list("problem_id", "recipient")
    }
    untold = {key: domains for key, domains in concerned.items() if key not in told}
    plans = _plan(problems, untold)
    now = clock.now()
    mails: dict[tuple[int, str, str], str] = {}
    rows = []
    for (problem_id, recipient), domains in untold.items():
        problem = problems[problem_id]
        plan = plans[problem.organisation_id, recipient]
        if plan.wait_until is not None:
            continue
        mail = (problem.organisation_id, "" if plan.shared else problem.cause, recipient)
        message_id = mails.setdefault(mail, f"<problem.{secrets.token_hex(16)}@{sender_domain}>")
        rows.append(
            Notification(
                organisation_id=problem.organisation_id,
                problem=problem,
                recipient=recipient,
                domains=domains,
                message_id=message_id,
                queued_at=now,
            )
        )
    with transaction.atomic():
        # another worker may have been faster: a letter without rows is nothing to send
        Notification.objects.bulk_create(rows, ignore_conflicts=True)
        outbox.put_many(outbox.Item("mail", message_id) for message_id in mails.values())
        outbox.put_many(
            outbox.Item("notify", str(problem_id), None, wait_until)
            for problem_id, wait_until in _waiting(problems, untold, plans).items()
        )
    return len(mails)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one person is told of what is new."""

    shared: bool = False
    """By one mail, whatever the kinds."""
    wait_until: datetime | None = None
    """Not now."""


def _plan(problems: Mapping[int, Problem], untold: Iterable[tuple[int, str]]) -> dict[tuple[int, str], _Plan]:
    """By organisation and recipient."""
    kinds: dict[tuple[int, str], set[str]] = defaultdict(set)
    for problem_id, recipient in untold:
        problem = problems[problem_id]
        kinds[problem.organisation_id, recipient].add(problem.cause)
    now = clock.now()
    lately = Notification.objects.filter(queued_at__gt=now - _DAY, queued_at__lte=now).order_by()
    sent: dict[tuple[int, str], tuple[int, datetime]] = {}
    for chunk in chunks(sorted({recipient for _, recipient in kinds})):
        for organisation_id, recipient, count, last in (
            lately.filter(recipient__in=chunk)
            .values_list("organisation_id", "recipient")
            .annotate(Count("message_id", distinct=True), Max("queued_at"))
        ):
            sent[organisation_id, recipient] = count, last
    plans = {}
    for person, new in kinds.items():
        count, last = sent.get(person, (0, now))
        if count + len(new) <= MAILS_A_DAY:
            plans[person] = _Plan()
        elif count < MAILS_A_DAY or last + SHARED_EVERY <= now:
            plans[person] = _Plan(shared=True)
        else:
            plans[person] = _Plan(wait_until=last + SHARED_EVERY)
    return plans


def _waiting(
    problems: Mapping[int, Problem],
    untold: Iterable[tuple[int, str]],
    plans: Mapping[tuple[int, str], _Plan],
) -> dict[int, datetime]:
    """The problems that somebody has to wait for, and until when."""
    waiting: dict[int, datetime] = {}
    for problem_id, recipient in untold:
        until = plans[problems[problem_id].organisation_id, recipient].wait_until
        if until is not None:
            waiting[problem_id] = min(until, waiting.get(problem_id, until))
    return waiting


def _concerned(problems: Mapping[int, Problem]) -> dict[tuple[int, str], int]:
    """Problem id and address -> how many of the problem's domains concern that person."""
    found: dict[tuple[int, str], int] = {}
    members = _members({problem.organisation_id for problem in problems.values()})
    for chunk in chunks(list(problems)):
        live = ProblemDomain.objects.filter(problem_id__in=chunk, gone_at__isnull=True).order_by()
        named = live.filter(domain__recipients__isnull=False)
        for problem_id, email, count in named.values_list(
            "problem_id", Lower("domain__recipients__email")
        ).annotate(domains=Count("domain_id", distinct=True)):
            found[problem_id, email] = count
        # members last: who hears of all domains is told of all of them
        for problem_id, count in live.values_list("problem_id").annotate(domains=Count("id")):
            for email in members[problems[problem_id].organisation_id]:
                found[problem_id, email] = count
    return found


def _members(organisation_ids: Iterable[int]) -> dict[int, set[str]]:
    members: dict[int, set[str]] = defaultdict(set)
    rows = Membership.objects.filter(
        organisation_id__in=list(organisation_ids), notify=True, user__is_active=True
    )
    for organisation_id, email in rows.values_list("organisation_id", Lower("user__email")):
        members[organisation_id].add(email)
    return members


def letter(message_id: str) -> Letter | None:
    """What the mail says as of now; None: nothing any more, because it is sent, or its problems are gone."""
    unsent = Notification.objects.filter(message_id=message_id, sent_at__isnull=True)
    # who was not told before it was over need not be troubled
    unsent.filter(problem__closed_at__isnull=False).delete()
    told = list(unsent.select_related("problem", "organisation").order_by("-domains", "problem_id"))
    if not told:
        return None
    first = told[0]
    is_member = first.recipient in _members([first.organisation_id])[first.organisation_id]
    domains = _domains_of(message_id, None if is_member else first.recipient)
    sums = domains.aggregate(
        domain_count=Count("domain_id", distinct=True),
        sessions=Sum("sessions"),
        first_day=Min("first_day"),
        last_day=Max("last_day"),
    )
    if not sums["domain_count"]:
        unsent.delete()
        return None
    hosts = tuple(dict.fromkeys(row.problem.host for row in told))
    named = list(domains.values_list("domain_id", "domain__name").distinct().order_by("domain__name")[:SHOWN])
    result_types = tuple(dict.fromkeys(row.problem.cause for row in told))
    reported = tuple(dict.fromkeys(row.problem.reported_as for row in told))
    reporters = _reporters([domain_id for domain_id, _ in named], reported, hosts)
    checked = domains.filter(is_checked=True)
    return Letter(
        message_id=message_id,
        recipient=first.recipient,
        has_login=is_member or _has_login(first.recipient, first.organisation_id),
        queued_at=first.queued_at,
        organisation=first.organisation.name,
        result_types=result_types,
        problem_ids=tuple(row.problem_id for row in told),
        hosts=hosts[:SHOWN],
        host_count=len(hosts),
        domains=tuple(name for _, name in named),
        reporters=reporters[:SHOWN],
        reporter_count=max(len(reporters), *(row.problem.reporters for row in told))
        if is_member
        else len(reporters),
        checked=checked.values("domain_id").distinct().count(),
        seen=_seen(checked, result_types, hosts),
        **sums,
    )


def _seen(checked: QuerySet[ProblemDomain], codes: Sequence[str], hosts: Sequence[str]) -> tuple[str, ...]:
    """The evidence of one check, or a CA's own words: where many domains share the cause, all of them saw the same."""
    for code in codes[:SHOWN]:
        if found := sighting_of(code, hosts[:SHOWN], checked.values("domain_id")):
            return tuple(map(str, found.evidence[:_SHOWN_EVIDENCE]))
    return ()


def _domains_of(message_id: str, recipient: str | None) -> QuerySet[ProblemDomain]:
    """Where the mail's problems are not gone; those that `recipient` was named for, or None: all."""
    domains = ProblemDomain.objects.filter(
        problem__notifications__message_id=message_id, gone_at__isnull=True
    ).order_by()
    return domains if recipient is None else domains.filter(domain__recipients__email__iexact=recipient)


def _has_login(email: str, organisation_id: int) -> bool:
    members = Membership.objects.filter(organisation_id=organisation_id, user__is_active=True)
    return members.filter(user__email__iexact=email).exists()


def _reporters(
    domain_ids: Sequence[int], result_types: Sequence[str], hosts: Sequence[str]
) -> tuple[str, ...]:
    """Who reports these causes for the few domains that a mail names, most failures first."""
    wanted = set(hosts)
    found: dict[str, int] = defaultdict(int)
    # by domain, and hosts sorted out here: a host's index would lead through its ten thousand domains
    rows = DailyFailures.objects.filter(
        domain_id__in=domain_ids,
        day__gte=clock.today() - _REPORTER_DAYS,
        result_type__in=result_types[:SHOWN],
    )
    for reporter, host, sessions in (
        rows.values_list("reporter", "host").annotate(sum=Sum("sessions")).order_by()
    ):
        if host in wanted:
            found[reporter] += sessions
    return tuple(sorted(found, key=lambda reporter: (-found[reporter], reporter)))


def mark_sent(told: Letter) -> None:
    """The relay has accepted the mail."""
    rows = _of(told)
    if len(told.problem_ids) == 1:
        rows.update(domains=told.domain_count)
    rows.update(sent_at=clock.now(), error="")


def mark_failed(told: Letter, reason: str) -> None:
    """The mail could not be handed over this time."""
    _of(told).update(error=reason[:500])


def _of(told: Letter) -> QuerySet[Notification]:
    return Notification.objects.filter(message_id=told.message_id, sent_at__isnull=True)


@transaction.atomic
def set_relay_state(*, ok: bool, detail: str = "") -> bool:
    """Remember whether the relay works. Returns whether that changed; then mails that wait go out at once."""
    before = ServiceState.objects.filter(name=RELAY).first()
    if before is not None and before.ok == ok and before.detail == detail[:500]:
        return False
    changed = before is None or before.ok != ok
    state = {"ok": ok, "detail": detail[:500]}
    if changed:
        state["changed_at"] = clock.now()
    ServiceState.objects.update_or_create(name=RELAY, defaults=state)
    if changed and ok:
        outbox.hasten("mail")
        outbox.hasten("notice")
    return changed


@transaction.atomic
def note_taken() -> None:
    """The relay works: it has taken a mail. If it had taken none for so long that mails were given up, those that tell
    of problems which are open still are tried again.
    """
    set_relay_state(ok=True)
    now = clock.now()
    before = last_taken()
    ServiceState.objects.update_or_create(name=_TOOK, defaults={"ok": True, "changed_at": now})
    if before is None or before <= now - GIVEN_UP_AFTER:
        _try_again(max(before or now - _GIVEN_UP_WITHIN, now - _GIVEN_UP_WITHIN))


def _try_again(queued_since: datetime) -> None:
    """Put the mails of that time that were given up, the newest first, into the outbox again."""
    unsent = Notification.objects.filter(
        sent_at__isnull=True, queued_at__gte=queued_since, problem__closed_at__isnull=True
    ).exclude(outbox.waiting_for("mail", "message_id"))
    newest = unsent.values("message_id").annotate(at=Max("queued_at")).order_by("-at", "message_id")
    outbox.put_many(outbox.Item("mail", row["message_id"]) for row in newest[:_MOST_GIVEN_UP])


def last_taken() -> datetime | None:
    """When the relay took a mail for anybody last."""
    return ServiceState.objects.filter(name=_TOOK).values_list("changed_at", flat=True).first()


@transaction.atomic
def set_clock(machine: str, is_right: bool, detail: str) -> None:
    """Remember whether a machine's clock may be believed, and what there is to say of it."""
    name = f"{CLOCK}{machine}"[:40]
    before = ServiceState.objects.filter(name=name).first()
    if before is None or (before.ok, before.detail) != (is_right, detail):
        state = {"ok": is_right, "detail": detail[:500], "changed_at": clock.now()}
        ServiceState.objects.update_or_create(name=name, defaults=state)


def has_mails() -> bool:
    """Whether mails wait to be sent: they will show whether the relay works."""
    return OutboxItem.objects.filter(kind__in=("mail", "notice")).exists()


def relay_works() -> bool | None:
    """What was seen last; None: nothing yet."""
    return ServiceState.objects.filter(name=RELAY).values_list("ok", flat=True).first()
