"""The policy follows the MX records: all servers asked, people told, time to object, then changed.

A look at the DNS only leaves rows (store.services.following.consider). From there on: every authoritative server of the
domain is asked directly, and the resolver, which refuses what DNSSEC does not prove (where it does not validate, signed
zones are not followed); only when all say the same is the change announced, and only when they all say it still, at
the end, is it made - unless it would lock mail out.

Whatever is in the way is returned as a failure of the work, so that the queue tries again, an hour apart at the
longest, until it is done or the DNS names the host no longer.
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta

from mailward.config import Settings
from mailward.core.mtasts.follow import narrow, why_not_agreed, widen
from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain as DomainName
from mailward.core.names import matches_mx
from mailward.net import clock
from mailward.net.dnssec import KnownValidation, Trust
from mailward.net.resolver import Answer, Resolver, Status, make_resolver, of_those_in_reach
from mailward.notify import mxletters
from mailward.store.aio import in_store
from mailward.store.models import Domain, MxChange
from mailward.store.services import following
from mailward.store.services.policies import policy_of
from mailward.store.tokens import make_veto_token
from mailward.worker.changing import learn_facts

_log = logging.getLogger(__name__)
_MAX_NAMED = 5
_VALIDATE = "Let a resolver on this machine validate, and name it: [dns] resolvers = ['127.0.0.1']"
_validation = KnownValidation()


@dataclass(frozen=True, slots=True)
class _Agreed:
    hosts: tuple[str, ...]
    ttl_seconds: int
    why: str
    """Who said so."""


async def follow_domain(settings: Settings, domain_id: int) -> str:
    """Bring the open changes of a domain one step further; otherwise why not yet."""
    found = await in_store(_open, domain_id)
    if found is None:
        return ""
    name, policy, rows = found
    now = clock.now()
    rows = [row for row in rows if row.state == "noticed" or (row.due_at is not None and row.due_at <= now)]
    if not rows:
        return ""
    agreed = await _ask_all(settings, name)
    if isinstance(agreed, str):
        for row in rows:
            await in_store(following.hold, row.pk, agreed, settings.problems)
        return agreed
    refused = []
    for row in rows:
        if (gone := _why_over(row, agreed.hosts)) is not None:
            await in_store(following.end, row.pk, "withdrawn", gone)
        elif row.state == "noticed":
            await _announce(settings, name, row, agreed, policy)
        elif reason := await _carry_out(settings, name, row, policy):
            refused.append(f"{row.subject}: {reason}")
    return "; ".join(refused)


def _why_over(row: MxChange, hosts: tuple[str, ...]) -> str | None:
    if row.kind == "appeared":
        return None if row.subject in hosts else "no authoritative server names it"
    covered = any(matches_mx(row.subject, host) for host in hosts)
    return "the authoritative servers name it" if covered else None


async def _announce(
    settings: Settings, name: DomainName, row: MxChange, agreed: _Agreed, policy: Policy
) -> None:
    wait = timedelta(hours=settings.follow.wait_hours)
    due_at = clock.now() + wait
    if row.kind == "departed":
        due_at = following.departure_due(agreed.ttl_seconds, wait)
    token = make_veto_token()
    link = f"{settings.console_url}/veto/{token}/"
    title, lines = mxletters.announced(
        name,
        row.kind,
        row.subject,
        tuple(row.patterns),
        agreed.why,
        due_at,
        due_at + timedelta(seconds=policy.max_age_seconds),
        link,
    )
    veto_hash = hashlib.sha256(token.encode()).hexdigest()
    if await in_store(following.announce, row.pk, due_at, agreed.why, veto_hash, title, lines):
        _log.info("mx-change-announced", extra={"domain": name, "subject": row.subject, "due": due_at})


async def _carry_out(settings: Settings, name: DomainName, row: MxChange, policy: Policy) -> str:
    """Returns why it was refused; empty: it was not."""
    change = widen(policy, row.patterns) if row.kind == "appeared" else narrow(policy, row.patterns)
    if change is None:
        why = "no mx line would be left"
        await in_store(following.hold, row.pk, why, settings.problems)
        return why
    facts = await learn_facts(settings, row.domain_id, change)
    if refused := await in_store(following.carry_out, row.pk, facts, settings.problems):
        _log.warning("mx-change-refused", extra={"domain": name, "reason": refused})
    return refused


async def _ask_all(settings: Settings, name: DomainName) -> _Agreed | str:
    """What all servers say, or why they do not."""
    resolver = make_resolver(settings.dns)
    everywhere = await resolver.lookup_everywhere(name, "MX")
    asked = of_those_in_reach(everywhere)
    validated = await resolver.mx(name)
    # none can be asked: nobody but the resolver speaks for the change, and that one may be wrong
    if unreached := [f"{at}: {each.reason}" for at, each in asked.items() if each.is_out_of_reach]:
        return f"no server of its zone can be asked: {unreached[0]}"
    answers = {place: _hosts(answer) for place, answer in asked.items()}
    known = None if validated.status is Status.FAILED else validated.records
    if reason := why_not_agreed(answers, known):
        return reason
    proof, held = await _judge_proof(settings, resolver, name, is_proved=validated.authenticated)
    if held:
        return held
    count = _count(len(answers), [place for place in everywhere if place not in asked])
    return _Agreed(
        validated.records,
        max((answer.ttl for answer in everywhere.values()), default=0),
        f"{count}; {proof}.",
    )


async def _judge_proof(
    settings: Settings, resolver: Resolver, name: DomainName, *, is_proved: bool
) -> tuple[str, str]:
    """What DNSSEC says of it, and why it is held on account of that; one of the two is empty.

    The word of a resolver that does not validate, or is not on loopback, is nobody's: then only zones that are not
    signed are followed.
    """
    sender = settings.sender
    validation = await _validation.look(resolver, sender.dnssec_secure_name, sender.dnssec_bogus_name)
    if validation.trust is Trust.VALIDATES:
        return ("DNSSEC proves it" if is_proved else "the zone is not signed"), ""
    signer = await resolver.delegation_signer(name)
    if signer.status in (Status.NODATA, Status.NXDOMAIN):
        return "the zone is not signed, says the zone above; DNSSEC was not checked", ""
    why = (
        f"its zone is signed, and this is not checked here ({validation.reason})"
        if signer.found
        else f"whether its zone is signed is not known ({signer.reason or 'no zone was found'}; {validation.reason})"
    )
    return "", f"{why}. {_VALIDATE}"


def _count(asked: int, left_out: list[str]) -> str:
    if left_out:
        at = ", ".join(left_out[:_MAX_NAMED])
        who = f"{asked} servers of its zone say" if asked > 1 else "One server of its zone says"
        return f"{who} so, all that can be reached from here (not asked: {at})"
    return f"All {asked} servers of its zone say so" if asked > 1 else "The server of its zone says so"


def _hosts(answer: Answer[str] | Answer[bytes]) -> tuple[str, ...] | None:
    if answer.status is Status.FAILED:
        return None
    records = (each for each in answer.records if isinstance(each, str))
    return tuple(sorted({each.partition(" ")[2] for each in records} - {".", ""}))


def _open(domain_id: int) -> tuple[DomainName, Policy, list[MxChange]] | None:
    domain = Domain.objects.select_related("current_version").filter(pk=domain_id).first()
    if domain is None:
        return None
    if domain.current_version is None:
        for row in following.open_changes(domain_id):
            following.end(row.pk, "withdrawn", "there is no policy any more")
        return None
    return DomainName(domain.name), policy_of(domain.current_version), following.open_changes(domain_id)
