"""MX records that differ from the policy: noticed, announced, objected to, carried out; all of it in the history.

What cannot be carried out is held, not ended: the queue tries it again, less and less often, and people are told once.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min

from mailward.config import Problems as Rules
from mailward.config import Settings
from mailward.core.explain.following import FOLLOW_HELD, FOLLOW_LEFT
from mailward.core.mtasts.change import ChangeFacts, RefusalCode
from mailward.core.mtasts.follow import (
    HELD_TOLD_AFTER,
    Comparison,
    Follow,
    compare,
    narrow,
    patterns_for,
    widen,
)
from mailward.core.mtasts.policy import Mode
from mailward.core.names import matches_mx
from mailward.net import clock
from mailward.store.models import Domain, MxChange, MxFollow
from mailward.store.services import history, outbox
from mailward.store.services.findings import Cause, leave_causes, open_cause
from mailward.store.services.notices import queue_notice
from mailward.store.services.policies import ChangeRefused, PolicyUnchanged, change_policy, policy_of
from mailward.store.services.problems import close_gone

MOST_OPEN = 50
"""Of one domain: whoever forges MX records makes no more rows than that."""
_CHARACTERS = 500
_ENDED_AT_ONCE = 200


@transaction.atomic
def set_follow(organisation_id: int, domain_id: int, mode: Follow, *, author_id: int | None) -> bool:
    """False: it is so already. What waits for its time is withdrawn when following ends. Raises Domain.DoesNotExist."""
    domain = Domain.objects.select_for_update().get(pk=domain_id, organisation_id=organisation_id)
    row, _ = MxFollow.objects.get_or_create(domain=domain, defaults={"organisation_id": organisation_id})
    if row.mode == mode:
        return False
    MxFollow.objects.filter(pk=row.pk).update(mode=mode)
    history.note(
        organisation_id, domain_id, "mx-follow", f"Following the MX records: {mode}", author_id=author_id
    )
    for each in MxChange.objects.filter(domain=domain, ended_at=None).exclude(kind="planned"):
        if mode is Follow.OFF:
            _end(each, "withdrawn", "following the MX records was switched off")
        elif each.state == "left":
            _end(each, "withdrawn", "following the MX records was switched on")
        elif each.kind == "appeared" and patterns_for(each.subject, mode) != tuple(each.patterns):
            # a look at the DNS notices it again, with what may be taken now
            _end(each, "withdrawn", f"what may be followed was changed: {mode}")
    return True


@transaction.atomic
def consider(domain_id: int, hosts: Sequence[str], settings: Settings) -> None:
    """Compare what a look at the DNS has found with the policy. Nothing follows here but rows, questions to ask and,
    where the policy does not follow by itself, that people are told of a host that has left.
    """
    domain = Domain.objects.select_related("current_version", "mx_follow").filter(pk=domain_id).first()
    if domain is None or domain.current_version is None or not hosts:
        return
    found = compare(policy_of(domain.current_version), hosts)
    there = {(row.kind, row.subject): row for row in MxChange.objects.filter(domain=domain, ended_at=None)}
    for (kind, subject), row in there.items():
        if kind == "planned" and any(matches_mx(subject, host) for host in hosts):
            _end(row, "done", "it is live")
        elif kind == "appeared" and subject not in found.uncovered:
            _end(row, "withdrawn", "DNS names it no longer, or the policy covers it")
        elif kind == "departed" and subject not in found.unused:
            _end(row, "withdrawn", "DNS names it again, or the policy does not")
    follow = Follow(domain.mx_follow.mode) if hasattr(domain, "mx_follow") else Follow.OFF
    _lift(domain, found, hosts)
    wanted = [("appeared", host, patterns_for(host, follow)) for host in found.uncovered]
    planned = {subject for kind, subject in there if kind == "planned"}
    # while a live host is refused, what covers nothing is part of that change
    departed = () if found.uncovered else (each for each in found.unused if each not in planned)
    wanted += [("departed", pattern, (pattern,)) for pattern in departed]
    for kind, subject, patterns in wanted[: max(0, MOST_OPEN - len(there))]:
        if patterns and (kind, subject) not in there and not _was_vetoed(domain, kind, subject):
            MxChange.objects.create(
                organisation_id=domain.organisation_id,
                domain=domain,
                kind=kind,
                subject=subject,
                patterns=list(patterns),
                state="left" if follow is Follow.OFF else "noticed",
                noticed_at=clock.now(),
            )
    _tell_left(domain, settings)
    if MxChange.objects.filter(domain=domain, ended_at=None, state="noticed").exists():
        outbox.put("follow", str(domain.pk))


def _tell_left(domain: Domain, settings: Settings) -> None:
    """A name that is given up must not stay trusted (RFC 8461 section 10.2). Not before the wait: hosts come back."""
    before = clock.now() - timedelta(hours=settings.follow.wait_hours)
    rows = MxChange.objects.filter(domain=domain, ended_at=None, state="left", is_told=False)
    for row in rows.filter(noticed_at__lte=before).order_by("pk"):
        why = f"no MX record has named a host that it covers since {row.noticed_at:%Y-%m-%d %H:%M} UTC"
        MxChange.objects.filter(pk=row.pk).update(is_told=True, detail=why)
        text = f"The policy still trusts {row.subject}, which has left the MX records"
        history.note(row.organisation_id, row.domain_id, "mx-left", text, reason=why)
        open_cause(Cause(row.organisation_id, row.domain_id, FOLLOW_LEFT, row.subject), settings.problems)


def _was_vetoed(domain: Domain, kind: str, subject: str) -> bool:
    """Whether a person objected: nobody is asked again while that holds, whatever else following changes."""
    return MxChange.objects.filter(domain=domain, kind=kind, subject=subject, state="vetoed").exists()


def _lift(domain: Domain, found: Comparison, hosts: Sequence[str]) -> None:
    """Objections hold until what they were about is settled otherwise: a person has taken the host into the policy, the
    DNS names the departed one again, or the policy does not any more. A host that vanishes and comes back is the same
    one: whoever forges it would only have to wait.
    """
    for row in MxChange.objects.filter(domain=domain, state="vetoed"):
        is_in = row.kind == "appeared" and row.subject in hosts and row.subject not in found.uncovered
        is_back = row.kind == "departed" and row.subject not in found.unused
        if is_in or is_back:
            MxChange.objects.filter(pk=row.pk).update(state="lifted")
            text = f"MX change of {row.subject} ({row.kind}): the objection is settled"
            reason = "the policy covers it" if is_in else "DNS names it again, or the policy does not"
            history.note(row.organisation_id, row.domain_id, "mx-lifted", text, reason=reason)


def put_due(limit: int) -> None:
    """Ask for the changes that are due, of at most `limit` domains, the longest waiting first; those that are held are
    tried again by the queue itself.
    """
    rows = MxChange.objects.filter(ended_at=None, state="waiting", due_at__lte=clock.now())
    rows = rows.exclude(kind="planned").exclude(outbox.waiting_for("follow", "domain_id"))
    domains = rows.values("domain_id").annotate(since=Min("due_at")).order_by("since", "domain_id")[:limit]
    outbox.put_many(outbox.Item("follow", str(each["domain_id"])) for each in domains)


def open_changes(domain_id: int) -> list[MxChange]:
    """Those that a worker has to do something about, now or later."""
    rows = MxChange.objects.filter(domain_id=domain_id, ended_at=None).exclude(kind="planned")
    return list(rows.order_by("id"))


@transaction.atomic
def announce(
    change_id: int, due_at: datetime, why: str, veto_hash: str, subject: str, lines: Sequence[str]
) -> bool:
    """All servers agree: the policy changes at `due_at`, unless somebody objects; people are told. False: it is over.

    `veto_hash`: of the token in the mail's link, SHA-256 in hexadecimal.
    """
    row = MxChange.objects.select_for_update().filter(pk=change_id, ended_at=None, state="noticed").first()
    if row is None:
        return False
    MxChange.objects.filter(pk=row.pk).update(
        state="waiting",
        due_at=due_at,
        detail=why[:_CHARACTERS],
        veto_hash=veto_hash,
        held_since=None,
        is_told=False,
    )
    _release(row)
    told = "gains" if row.kind == "appeared" else "loses"
    text = (
        f"The policy {told} {', '.join(row.patterns)} at {due_at:%Y-%m-%d %H:%M} UTC unless somebody objects"
    )
    history.note(row.organisation_id, row.domain_id, "mx-announced", text, reason=why)
    queue_notice(row.organisation_id, row.domain_id, subject, lines)
    return True


@transaction.atomic
def carry_out(change_id: int, facts: ChangeFacts, rules: Rules) -> str:
    """Change the policy. Returns why it was refused and is held, to be tried again; empty: it is done, or over."""
    row = MxChange.objects.select_for_update().filter(pk=change_id, ended_at=None, state="waiting").first()
    if row is None:
        return ""
    rows = Domain.objects.select_for_update(of=("self",)).select_related("current_version")
    domain = rows.get(pk=row.domain_id)  # locked: nobody publishes another version meanwhile
    # mode none stays as it is: whoever leaves MTA-STS would begin anew
    if domain.current_version is None or domain.current_version.mode == Mode.NONE:
        _end(row, "withdrawn", "there is no policy any more")
        return ""
    before = policy_of(domain.current_version)
    policy = widen(before, row.patterns) if row.kind == "appeared" else narrow(before, row.patterns)
    reason = f"Follows the MX records: {row.subject} {'appeared' if row.kind == 'appeared' else 'has gone'}"
    try:
        if policy is None:
            raise PolicyUnchanged
        change_policy(
            row.organisation_id,
            row.domain_id,
            policy,
            facts,
            author_id=None,
            reason=reason,
            # of two hosts that come together each is outside the policy when the other one joins
            is_step=row.kind == "appeared",
        )
    except PolicyUnchanged:
        _end(row, "withdrawn", "the policy says so already")
    except ChangeRefused as error:
        is_certain = any(each.code is not RefusalCode.MX_UNKNOWN for each in error.refusals)
        _hold(row, str(error), rules, at_once=is_certain)
        return str(error)
    else:
        _end(row, "done", _say_trusted(before.max_age_seconds) if row.kind == "departed" else "")
    return ""


def _say_trusted(max_age_seconds: int) -> str:
    """Of a host name that has just left the policy (RFC 8461 section 10.2)."""
    until = clock.now() + timedelta(seconds=max_age_seconds)
    return (
        f"Senders that hold the policy of before trust it until {until:%Y-%m-%d %H:%M} UTC: "
        "do not give the name up before."
    )


@transaction.atomic
def hold(change_id: int, why: str, rules: Rules) -> None:
    """It goes on waiting, and why. People are told once it has waited for long."""
    row = MxChange.objects.select_for_update().filter(pk=change_id, ended_at=None).first()
    if row is not None:
        _hold(row, why, rules, at_once=False)


def _hold(row: MxChange, why: str, rules: Rules, *, at_once: bool) -> None:
    now = clock.now()
    since = row.held_since or now
    is_due = at_once or now - since >= HELD_TOLD_AFTER
    MxChange.objects.filter(pk=row.pk).update(
        detail=why[:_CHARACTERS], held_since=since, is_told=row.is_told or is_due
    )
    if not is_due or row.is_told:
        return
    text = f"MX change of {row.subject} ({row.kind}) is held, and tried again by itself"
    history.note(row.organisation_id, row.domain_id, "mx-held", text, reason=why)
    open_cause(Cause(row.organisation_id, row.domain_id, FOLLOW_HELD, row.subject), rules)


def _release(row: MxChange) -> None:
    """It is not held any more, or it is over."""
    if row.is_told:
        close_gone(leave_causes(row.domain_id, row.subject, [FOLLOW_HELD, FOLLOW_LEFT]))


def by_veto_token(token: str) -> MxChange | None:
    """The change that this link is about, whatever has become of it; None: there is none such."""
    found = hashlib.sha256(token.encode()).hexdigest()
    return MxChange.objects.filter(veto_hash=found).select_related("domain").first()


@transaction.atomic
def end(change_id: int, state: str, detail: str, *, author_id: int | None = None) -> bool:
    """It is over. False: it was already."""
    row = MxChange.objects.select_for_update().filter(pk=change_id, ended_at=None).first()
    if row is None:
        return False
    _end(row, state, detail, author_id=author_id)
    return True


def end_all(domain_id: int, detail: str) -> None:
    """Planned ones too. Within the caller's transaction."""
    for row in MxChange.objects.filter(domain_id=domain_id, ended_at=None):
        _end(row, "withdrawn", detail)


def _end(row: MxChange, state: str, detail: str, *, author_id: int | None = None) -> None:
    MxChange.objects.filter(pk=row.pk).update(
        state=state, ended_at=clock.now(), detail=detail[:_CHARACTERS], author_id=author_id or row.author_id
    )
    _release(row)
    text = f"MX change of {row.subject} ({row.kind}): {state}"
    history.note(row.organisation_id, row.domain_id, f"mx-{state}", text, author_id=author_id, reason=detail)


@transaction.atomic
def plan(
    organisation_id: int, domain_id: int, pattern: str, expected_at: datetime, *, author_id: int | None
) -> MxChange:
    """An MX host is to come; the policy covers it already. One that was planned before gets the new date."""
    row, is_new = MxChange.objects.get_or_create(
        domain_id=domain_id,
        kind="planned",
        subject=pattern,
        ended_at=None,
        defaults={
            "organisation_id": organisation_id,
            "patterns": [pattern],
            "state": "waiting",
            "noticed_at": clock.now(),
            "due_at": expected_at,
            "author_id": author_id,
        },
    )
    if not is_new:
        MxChange.objects.filter(pk=row.pk).update(due_at=expected_at)
    text = f"MX host {pattern} is to come on {expected_at:%Y-%m-%d}"
    history.note(organisation_id, domain_id, "mx-planned", text, author_id=author_id)
    return row


@transaction.atomic
def end_planned(days: int, letter: Callable[[str, str], tuple[str, Sequence[str]]]) -> None:
    """Plans whose host has not come so many days after its date are over; people are told by `letter`. The policy is as
    it was: what covers no host is then noticed like any other pattern.
    """
    late = (
        MxChange.objects.select_for_update(of=("self",))
        .select_related("domain")
        .filter(kind="planned", ended_at=None, due_at__lte=clock.now() - timedelta(days=days))
    )
    for row in late.order_by("pk")[:_ENDED_AT_ONCE]:
        _end(row, "withdrawn", f"it had not come {days} days after its date")
        queue_notice(row.organisation_id, row.domain_id, *letter(row.domain.name, row.subject))


def departure_due(ttl_seconds: int, wait: timedelta) -> datetime:
    """When a host name may leave the policy: resolvers keep the MX record for its TTL, and mail is under way."""
    return clock.now() + max(timedelta(seconds=min(ttl_seconds, 604_800)), wait)
