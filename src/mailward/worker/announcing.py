"""The steps of a policy change after its commit: served by every host, then its id is told, then it is seen in DNS.

RFC 8461 section 8.1. Each step is committed before the next, and is taken up again from the outbox by whoever is alive.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from mailward.config import Settings
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import Domain as DomainName
from mailward.core.places import show_place
from mailward.hosting.announce import look_at_hosts, look_in_front
from mailward.hosting.fronts import UNASKED, Fronts
from mailward.hosting.policyanswer import CACHE_SECONDS
from mailward.net import clock
from mailward.net.resolver import Answer, Status, make_resolver, of_those_in_reach
from mailward.store.aio import in_store
from mailward.store.models import Domain, PolicyVersion
from mailward.store.queries.domains import is_fronted, is_served
from mailward.store.services import outbox
from mailward.store.services.policies import announce_version
from mailward.store.services.progress import Step, is_noted, look_at_records, note_steps, served_since
from mailward.store.services.watching import look_soon

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 5.0
"""Policy hosts read the database several times a second: it is not worth coming back later for that."""
_PAUSE_SECONDS = 0.2
_FOLLOW_PAUSE_SECONDS = 0.5
_KEPT = "caches there, other than the one that was asked, may serve the policy of before for a minute"
_FRONTS = Fronts()


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


class Wait(NamedTuple):
    """What a change waits for; empty: nothing."""

    reason: str
    time: timedelta | None = None
    """So long, where that is known."""


async def announce_domain(settings: Settings, domain_id: int) -> str:
    """Let the id of the domain's current policy be told once every policy host serves it; otherwise why not yet. Where
    another server may be in front of them, what remains is work of its own, which waits for servers of customers.
    """
    change = await _open_change(domain_id)
    if change is None:
        return ""
    until = clock.monotonic() + PATIENCE_SECONDS
    while True:
        looks = await look_at_hosts(settings, change.name, change.text)
        if not any(looks.values()) or clock.monotonic() >= until:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    await in_store(note_steps, change.version_id, Step.SERVED, looks)
    if any(looks.values()):
        return _waits(change, looks).reason
    if change.is_fronted is False:
        await _announce(domain_id, change)
    else:
        await in_store(outbox.put, "front", str(domain_id))
    return ""


async def announce_in_front(settings: Settings, domain_id: int) -> Wait:
    """Let the id be told once what is in front of our hosts serves the policy as well, and they do still."""
    change = await _open_change(domain_id)
    if change is None:
        return Wait("")
    nodes = [show_place(node) for node in settings.policy_nodes]
    front: dict[str, str] = {}
    if change.is_fronted is not False:
        is_certain = change.is_fronted is True
        front = await look_in_front(settings, change.name, change.text, _FRONTS, is_certain=is_certain)
    if any(front.values()):
        # where nobody asked, what was seen before stays: thousands may be told so in a moment
        is_asked = not UNASKED.issuperset(filter(None, front.values()))
        if is_asked or not await in_store(is_noted, change.version_id, Step.SERVED, front):
            await in_store(note_steps, change.version_id, Step.SERVED, front, beside=nodes)
        return _waits(change, front)
    hosts = await look_at_hosts(settings, change.name, change.text)
    await in_store(note_steps, change.version_id, Step.SERVED, hosts | front)
    if any(hosts.values()):
        await in_store(outbox.put, "announce", str(domain_id))  # it waits for our own hosts again
        return Wait("")
    if front and (time := await in_store(_kept_by_caches, change.version_id, nodes)):
        front = dict.fromkeys(front, _KEPT)
        await in_store(note_steps, change.version_id, Step.SERVED, hosts | front)
        return _waits(change, front, time)
    await _announce(domain_id, change)
    return Wait("")


async def _open_change(domain_id: int) -> _Change | None:
    """None: there is nothing to announce."""
    change = await in_store(_current, domain_id)
    return None if change is None or change.is_announced or not change.is_served else change


def _waits(change: _Change, looks: Mapping[str, str], time: timedelta | None = None) -> Wait:
    reason = "; ".join(f"{place}: {reason}" for place, reason in looks.items() if reason)
    _log.warning("policy-not-announced", extra={"domain": change.name, "reason": reason})
    return Wait(reason, time)


async def _announce(domain_id: int, change: _Change) -> None:
    if await in_store(announce_version, domain_id, change.version_id):
        _log.info("policy-announced", extra={"domain": change.name, "id": change.policy_id})


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


def _kept_by_caches(version_id: int, hosts: Sequence[str]) -> timedelta:
    """So long a cache in front may still have what our hosts served before: many servers may be at one address.

    A domain's first version has none before it. When it was taken over, to wait would leave senders without a record.
    """
    version = PolicyVersion.objects.get(pk=version_id)
    if not PolicyVersion.objects.filter(domain_id=version.domain_id, number__lt=version.number).exists():
        return timedelta()
    since, kept = served_since(version_id, hosts), timedelta(seconds=CACHE_SECONDS)
    passed = clock.now() - since if since is not None else kept
    return kept - passed if timedelta() <= passed < kept else timedelta()


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
