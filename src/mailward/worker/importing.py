"""An import at work: DNS and the policy that is live elsewhere are asked for each listed domain, then all are added."""

import asyncio
import logging
from collections.abc import Callable

from mailward.config import Settings
from mailward.core.importing.listing import Wish
from mailward.core.importing.verdict import Decision, Seen, decide
from mailward.monitor.elsewhere import look_at_live
from mailward.monitor.proposals import propose_mx
from mailward.net.resolver import Resolver, make_resolver
from mailward.store.aio import in_store
from mailward.store.models import ImportState
from mailward.store.services import importing

_log = logging.getLogger(__name__)
AT_ONCE = 50
"""Domains that are asked about at the same time."""
STEPS_A_TURN = 5
"""Some hundred domains; then the next import has its turn, whoever's it is."""
Told = Callable[[int], None]


async def work(settings: Settings, import_id: int, told: Told = lambda _: None) -> None:
    """Do what the import's state asks for, to its end. `told` gets the number of rows of each step."""
    while await _take_steps(settings, import_id, STEPS_A_TURN, told):
        pass


async def take_turn(settings: Settings, import_id: int) -> None:
    """Some of it; the rest stands in the queue behind the imports of others."""
    if await _take_steps(settings, import_id, STEPS_A_TURN):
        await in_store(importing.go_on_later, import_id)


async def _take_steps(settings: Settings, import_id: int, most: int, told: Told = lambda _: None) -> bool:
    """Whether anything is left to do."""
    match await in_store(importing.state_of, import_id):
        case ImportState.LOOKING:
            return await _look(settings, import_id, most, told)
        case ImportState.RUNNING:
            for _ in range(most):
                if not await in_store(importing.carry_out_some, import_id):
                    return False
                told(importing.BATCH)
            return True
    return False


async def _look(settings: Settings, import_id: int, most: int, told: Told) -> bool:
    resolver, gate = make_resolver(settings.dns), asyncio.Semaphore(AT_ONCE)
    for _ in range(most):
        wishes, there = await in_store(importing.next_wishes, import_id)
        if not wishes:
            await in_store(importing.end_looking, import_id)
            return False
        decisions: dict[int, Decision] = {}
        async with asyncio.TaskGroup() as group:
            for number, wish in wishes.items():
                group.create_task(_decide(settings, resolver, gate, (number, wish), there, decisions))
        await in_store(importing.keep_decisions, import_id, decisions)
        told(len(decisions))
    return True


async def _decide(
    settings: Settings,
    resolver: Resolver,
    gate: asyncio.Semaphore,
    row: tuple[int, Wish],
    there: frozenset[str],
    decisions: dict[int, Decision],
) -> None:
    number, wish = row
    if wish.name in there:
        decisions[number] = decide(wish, Seen(), is_there=True)
        return
    async with gate:
        try:
            seen = await _see(settings, resolver, wish)
            decisions[number] = decide(wish, seen, is_there=False)
        except Exception as error:  # noqa: BLE001 - one row's trouble leaves the others alone; it is looked at as unknown
            _log.exception("import-row-failed", extra={"domain": wish.name})
            seen = Seen(why_no_hosts=f"It could not be looked at: {type(error).__name__}.")
            decisions[number] = decide(Wish(wish.name, wish.where), seen, is_there=False)


async def _see(settings: Settings, resolver: Resolver, wish: Wish) -> Seen:
    live = await look_at_live(settings, wish.name, resolver)
    if wish.mx:
        return Seen(live=live.policy, unknown=live.unknown)
    proposal = await propose_mx(resolver, wish.name)
    return Seen(proposal.hosts, proposal.reason, live.policy, live.unknown)
