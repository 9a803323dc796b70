"""The steps of a policy change after its commit: served by every host, then its id is told, then it is seen in DNS.

RFC 8461 section 8.1. Each step is committed before the next, and is taken up again from the outbox by whoever is alive.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from mailward.config import Settings
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import Domain as DomainName
from mailward.hosting.announce import look_at_hosts, look_in_front
from mailward.hosting.policyanswer import CACHE_SECONDS
from mailward.net import clock
from mailward.net.resolver import Answer, Status, make_resolver, of_those_in_reach
from mailward.store.aio import in_store
from mailward.store.models import Domain, PolicyVersion
from mailward.store.queries.domains import is_fronted, is_served
from mailward.store.services.policies import announce_version
from mailward.store.services.progress import Step, look_at_records, note_steps, served_since
from mailward.store.services.watching import look_soon

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 5.0
"""Policy hosts read the database several times a second: it is not worth coming back later for that."""
_PAUSE_SECONDS = 0.2
_FOLLOW_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Change:
    name: DomainName
    version_id: int
    policy_id: str
    text: str
    is_announced: bool
    is_served: bool
    """Otherwise it waits for the proof that the domain is theirs."""
    is_fronted: bool | None
    """Whether senders reach another server, which asks ours; None: DNS did not say at the last look."""


async def announce_domain(settings: Settings, domain_id: int) -> str:
    """Let the id of the domain's current policy be told once every policy host serves it, and what is in front of them;
    otherwise why not yet.
    """
    change = await in_store(_current, domain_id)
    if change is None or change.is_announced or not change.is_served:
        return ""
    until = clock.monotonic() + PATIENCE_SECONDS
    while True:
        looks = await look_at_hosts(settings, change.name, change.text)
        if not any(looks.values()) or clock.monotonic() >= until:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    hosts, front = list(looks), dict[str, str]()
    if change.is_fronted is not False and not any(looks.values()):
        is_certain = change.is_fronted is True
        front = await look_in_front(settings, change.name, change.text, is_certain=is_certain)
    looks |= front
    await in_store(note_steps, change.version_id, Step.SERVED, looks)
    reason = "; ".join(f"{place}: {reason}" for place, reason in looks.items() if reason)
    if not reason and front and await in_store(_is_kept_by_caches, change.version_id, hosts):
        reason = (
            "caches there, other than the one that was asked, may serve the policy of before for a minute"
        )
        await in_store(note_steps, change.version_id, Step.SERVED, looks | dict.fromkeys(front, reason))
    if reason:
        _log.warning("policy-not-announced", extra={"domain": change.name, "reason": reason})
        return reason
    if await in_store(announce_version, domain_id, change.version_id):
        _log.info("policy-announced", extra={"domain": change.name, "id": change.policy_id})
    return ""


async def see_domain(settings: Settings, domain_id: int) -> str:
    """Look for the announced id at each authoritative server of the domain; otherwise who does not have it yet.

    Those that this machine can never ask are not waited for, where it can ask others.
    """
    change = await in_store(_current, domain_id)
    if change is None or not change.is_announced:
        return ""
    resolver = make_resolver(settings.dns)
    until = clock.monotonic() + PATIENCE_SECONDS
    while True:
        everywhere = await resolver.lookup_everywhere(f"_mta-sts.{change.name}", "TXT")
        answers = of_those_in_reach(everywhere)
        looks = {place: _why_not_seen(answer, change.policy_id) for place, answer in answers.items()}
        # where one server has it, the others are told of it by NOTIFY just now
        if all(looks.values()) or not any(looks.values()) or clock.monotonic() >= until:
            break
        await asyncio.sleep(_FOLLOW_PAUSE_SECONDS)
    await in_store(note_steps, change.version_id, Step.SEEN, looks)
    if not any(looks.values()):
        await in_store(look_at_records, domain_id)
    if settings.watch.enabled and not any(looks.values()):
        await in_store(look_soon, domain_id)
    if left_out := sorted(everywhere.keys() - answers.keys()):
        _log.info("name-servers-out-of-reach", extra={"domain": change.name, "servers": ", ".join(left_out)})
    return "; ".join(f"{place}: {reason}" for place, reason in looks.items() if reason)


def _is_kept_by_caches(version_id: int, hosts: Sequence[str]) -> bool:
    """Whether a cache in front may still have what our hosts served before: many servers may be at one address.

    A domain's first version has none before it. When it was taken over, to wait would leave senders without a record.
    """
    version = PolicyVersion.objects.get(pk=version_id)
    if not PolicyVersion.objects.filter(domain_id=version.domain_id, number__lt=version.number).exists():
        return False
    since = served_since(version_id, hosts)
    return since is not None and timedelta() <= clock.now() - since < timedelta(seconds=CACHE_SECONDS)


def _why_not_seen(answer: Answer[str] | Answer[bytes], policy_id: str) -> str:
    if answer.status is Status.FAILED:
        return answer.reason
    try:
        record = parse_record([each for each in answer.records if isinstance(each, bytes)])
    except RecordError as error:
        return str(error) if answer.found else "no record is there"
    return "" if record.policy_id == policy_id else f"it tells the id {record.policy_id}"


def _current(domain_id: int) -> _Change | None:
    """None: there is no policy."""
    domain = Domain.objects.select_related("current_version").filter(pk=domain_id).first()
    version = domain.current_version if domain is not None else None
    if domain is None or version is None:
        return None
    return _Change(
        DomainName(domain.name),
        version.pk,
        version.policy_id,
        version.text,
        domain.announced_version_id == version.pk,
        is_served(domain),
        is_fronted(domain.pk),
    )
