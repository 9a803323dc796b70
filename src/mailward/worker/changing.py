"""What must be known before a policy is changed: the live MX hosts, and what strict senders reject there."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from mailward.config import Settings
from mailward.core.check.facts import Facts, Found, Lookup, MxHost, mx_names
from mailward.core.check.rejected import change_facts, rejected
from mailward.core.check.view import View
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain as DomainName
from mailward.net import clock
from mailward.net.resolver import make_resolver
from mailward.probe.observe import MAX_MX_HOSTS
from mailward.store.aio import in_store
from mailward.store.models import Domain
from mailward.store.queries.checks import facts_of
from mailward.worker.sessions import Sessions
from mailward.worker.watch import Watcher

LOOK_SECONDS = 20.0
"""For MX hosts that were never looked at: somebody waits. What was not seen in time is not held against the change."""
_FRESH = timedelta(days=2)


async def learn_facts(settings: Settings, domain_id: int, policy: Policy) -> ChangeFacts:
    """For core.mtasts.change.refuse. The MX records are asked for now; what their hosts show is that of the last look,
    or of one now where there is none. Raises Domain.DoesNotExist, PolicyInvalid.
    """
    name, known = await in_store(_known, domain_id)
    # of its own: pages run on a loop for each question, and a watcher belongs to one
    watcher = Watcher(settings, make_resolver(settings.dns), Sessions(settings))
    facts = await _see(watcher, name, known)
    return await asyncio.to_thread(change_facts, facts, policy, View(facts).published)


async def look_at_planned(settings: Settings, name: DomainName, host: DomainName, policy: Policy) -> str:
    """What strict senders would reject at an MX host that is to come, in words. Empty: nothing, or it is not there yet,
    or cannot be looked at from here: it may be planned all the same.
    """
    if not settings.watch.from_here:
        return ""
    watcher = Watcher(settings, make_resolver(settings.dns), Sessions(settings))
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            facts = await watcher.observe_now(name, supposed_mx=(host,))
    except TimeoutError:
        return ""
    found = await asyncio.to_thread(rejected, facts, policy)
    return found.get(host, "")


async def _see(watcher: Watcher, name: DomainName, known: Facts | None) -> Facts:
    mx = await watcher.look_up_mx(name)
    wanted = mx_names(name, mx)[:MAX_MX_HOSTS]
    there = {host.name: host for host in known.hosts} if known is not None else {}
    if known is not None and there.keys() >= set(wanted):
        return replace(known, at=clock.now(), mx=mx, hosts=tuple(there[host] for host in wanted))
    # where this machine has no way out, what it fails to see would stand in place of what another node sees
    if watcher.settings.watch.from_here:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                return await watcher.observe_now(name)
    hosts = tuple(there.get(host) or _unseen(host) for host in wanted)
    base = known or await watcher.observe_now(name, has_smtp=False)
    return replace(base, at=clock.now(), mx=mx, hosts=hosts)


def _unseen(host: str) -> MxHost:
    """That it has an address is all that is supposed."""
    return MxHost(host, Lookup(host, "A", Found.FAILED), Lookup(host, "AAAA", Found.FAILED))


def _known(domain_id: int) -> tuple[DomainName, Facts | None]:
    domain = Domain.objects.select_related("watch__current").get(pk=domain_id)
    watch = getattr(domain, "watch", None)
    if watch is None or watch.current is None or watch.checked_at is None:
        return DomainName(domain.name), None
    is_fresh = timedelta() <= clock.now() - watch.checked_at <= _FRESH
    return DomainName(domain.name), facts_of(watch.current) if is_fresh else None
