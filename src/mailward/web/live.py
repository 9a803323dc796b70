"""What pages ask of the network while somebody waits: outside any transaction, with one deadline in all."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from asgiref.sync import async_to_sync
from django.conf import settings

from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain as Name
from mailward.monitor.elsewhere import Live, look_at_live, why_not_same
from mailward.monitor.proposals import MxProposal, propose_mx
from mailward.monitor.records import RecordState
from mailward.net.guard import make_guard
from mailward.net.resolver import Resolver, make_resolver
from mailward.worker.changing import learn_facts, look_at_planned
from mailward.worker.records import check_domain

MX_SECONDS = 15.0
_AT_ONCE = 50


def propose_for(names: Sequence[str], *, seconds: float = MX_SECONDS) -> dict[str, MxProposal]:
    """The MX hosts to propose for each name; those that were not answered in time say so."""
    # not asyncio.run, here and below: what it awaits of the store must come back to this thread
    return async_to_sync(_propose)(names, seconds)


def check_now(domain_id: int) -> tuple[RecordState, ...]:
    """Ask the domain's own servers for its records, and keep the answers."""
    return async_to_sync(check_domain)(settings.MAILWARD, domain_id)


def look_at_live_policy(name: str) -> Live:
    """What senders get for the domain now, wherever it is served."""
    return async_to_sync(look_at_live)(settings.MAILWARD, Name(name), make_resolver(settings.MAILWARD.dns))


def live_policies_for(names: Sequence[str], *, seconds: float = MX_SECONDS) -> dict[str, Live]:
    """What senders get for these names now; of those that were answered in time."""
    return async_to_sync(_live_policies)(names, seconds)


async def _live_policies(names: Sequence[str], seconds: float) -> dict[str, Live]:
    resolver, gate = make_resolver(settings.MAILWARD.dns), asyncio.Semaphore(_AT_ONCE)
    found: dict[str, Live] = {}

    async def look(name: str) -> None:
        async with gate:
            found[name] = await look_at_live(settings.MAILWARD, Name(name), resolver)

    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(look(name))
    except TimeoutError:
        pass
    return found


def look_at_host(name: str, host: str, text: str) -> str:
    """Why the policy host at this name or address does not serve the same as `text`; empty: it does."""
    watch, dns = settings.MAILWARD.watch, settings.MAILWARD.dns
    ca_file = Path(watch.ca_file) if watch.ca_file else None
    return async_to_sync(why_not_same)(
        Name(name), host, text, make_resolver(dns), make_guard(dns), ca_file=ca_file, port=watch.https_port
    )


def change_facts_for(domain_id: int, policy: Policy) -> ChangeFacts:
    """What decides whether the policy may be changed to this one. Raises Domain.DoesNotExist, PolicyInvalid."""
    return async_to_sync(learn_facts)(settings.MAILWARD, domain_id, policy)


def look_at_planned_host(name: str, host: str, policy: Policy) -> str:
    """What strict senders would reject at an MX host that is to come; empty: nothing that is seen."""
    return async_to_sync(look_at_planned)(settings.MAILWARD, Name(name), Name(host), policy)


async def _propose(names: Sequence[str], seconds: float) -> dict[str, MxProposal]:
    resolver, gate = make_resolver(settings.MAILWARD.dns), asyncio.Semaphore(_AT_ONCE)
    found: dict[str, MxProposal] = {}
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(_propose_one(resolver, gate, name, found))
    except TimeoutError:
        pass  # what was answered until then is there
    late = MxProposal((), reason=f"DNS did not answer within {seconds:g} seconds")
    return {name: found.get(name, late) for name in names}


async def _propose_one(
    resolver: Resolver, gate: asyncio.Semaphore, name: str, found: dict[str, MxProposal]
) -> None:
    async with gate:
        found[name] = await propose_mx(resolver, Name(name))
