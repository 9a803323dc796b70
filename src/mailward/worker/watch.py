"""Looks at domains from outside, as senders do, and keeps what was seen."""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from mailward.config import Settings
from mailward.core.check.facts import UNOBSERVED, Facts, Lookup, Reach, Session, mx_names
from mailward.core.names import Domain
from mailward.core.watch.keeping import bridge_fetches
from mailward.net import tracing
from mailward.net.fetch import introduce
from mailward.net.guard import make_probe_guard
from mailward.net.quota import too_many
from mailward.net.resolver import Resolver, make_resolver
from mailward.probe.observe import Observer, Ways
from mailward.store.aio import in_store
from mailward.store.services import following, mxlooks, watching
from mailward.store.services.watching import Seen
from mailward.worker.sessions import Answer, Sessions, Wish

_log = logging.getLogger(__name__)
ASKED_FRESHNESS = timedelta(minutes=10)
"""When a person asks, what an MX host showed so lately will do."""


@dataclass
class Watcher:
    """One a process: checks of many domains at the same time share what MX hosts show."""

    settings: Settings
    resolver: Resolver
    sessions: Sessions

    @property
    def quota(self) -> "FetchQuota":
        return FetchQuota(self.settings.watch.fetches_per_hour)

    async def watch(self, domain_id: int, *, is_asked: bool = False, is_deep: bool = False) -> None:
        """Check a domain of the platform, keep what is new, settle its problems. `is_deep`: its MX hosts' versions and
        ciphers too, though they are not due, where its ownership is proved.
        """
        plan = await in_store(watching.plan_of, domain_id)
        if plan is None:
            return
        deep_at_most = ASKED_FRESHNESS if is_deep and plan.is_proved else None
        wish = Wish(ASKED_FRESHNESS if is_asked else None, plan.is_proved, deep_at_most)
        facts, answers = await self._observe(Domain(plan.name), wish)
        blind = [fetch for fetch in facts.policy_host.fetches if fetch.error == UNOBSERVED]
        before = await in_store(watching.current_facts, domain_id) if blind else None
        seen = _seen(facts if before is None else bridge_fetches(facts, before), answers)
        unobserved = tuple((f"{facts.policy_host.name} at {fetch.address}", fetch.message) for fetch in blind)
        seen = replace(seen, unobserved=(*seen.unobserved, *unobserved))
        moved = await in_store(watching.keep, domain_id, seen, self.settings)
        if facts.mx.was_found:
            await in_store(
                following.consider, domain_id, mx_names(Domain(plan.name), facts.mx), self.settings
            )
        if moved is not None and (moved.opened or moved.closed):
            extra = {"domain": plan.name, "opened": len(moved.opened), "closed": len(moved.closed)}
            _log.info("watch-moved", extra=extra)

    async def look_up(self, asked_id: int) -> None:
        """Check a domain that a person typed in."""
        name = await in_store(watching.asked_name, asked_id)
        if name is None:
            return
        facts, _ = await self._observe(Domain(name), Wish(ASKED_FRESHNESS))
        await in_store(watching.keep_asked, asked_id, facts)

    async def rejudge(self, host: str) -> None:
        """An MX host has changed for one domain: all others that have it are judged anew, without asking anybody."""
        for domain_id in await in_store(watching.domains_with, host):
            await in_store(watching.rejudge, domain_id, host, self.settings)

    async def look_up_mx(self, name: Domain) -> Lookup:
        """The MX records as they are now."""
        return await Observer(self.resolver, make_probe_guard(self.settings)).look_up(name, "MX")

    async def observe_now(
        self, name: Domain, *, has_smtp: bool = True, supposed_mx: tuple[Domain, ...] = ()
    ) -> Facts:
        """For somebody who waits: what MX hosts showed lately will do. Nothing of it is kept. `supposed_mx`: as if the
        MX records named these hosts.
        """
        facts, _ = await self._observe(
            name, Wish(ASKED_FRESHNESS), has_smtp=has_smtp, supposed_mx=supposed_mx
        )
        return facts

    async def _observe(
        self, name: Domain, wish: Wish, *, has_smtp: bool = True, supposed_mx: tuple[Domain, ...] = ()
    ) -> tuple[Facts, "_Answers"]:
        answers, watch = _Answers(), self.settings.watch
        ways = Ways(
            has_smtp=has_smtp,
            ca_file=Path(watch.ca_file) if watch.ca_file else None,
            smtp_port=watch.smtp_port,
            https_port=watch.https_port,
            ehlo_name=watch.ehlo_name,
        )
        look = partial(self._look, answers, wish)
        observer = Observer(self.resolver, make_probe_guard(self.settings), ways, look, self.quota)
        with tracing.span("check.observe", {"mailward.domain": str(name)}):
            return await observer.observe(name, supposed_mx), answers

    async def _look(self, answers: "_Answers", wish: Wish, host: str, address: str, until: float) -> Session:
        answer = await self.sessions.look(host, address, until, wish)
        answers.of[host, address] = answer
        return answer.session


@dataclass(frozen=True, slots=True)
class FetchQuota:
    """Counts connections to policy hosts and report targets in the database, for all workers."""

    most: int

    async def take(self, address: str, connections: int) -> str:
        is_free = await in_store(
            mxlooks.count_connections, mxlooks.fetch_key(address), connections, self.most
        )
        return "" if is_free else too_many(self.most)


@dataclass(slots=True)
class _Answers:
    """What MX hosts showed during one check."""

    of: dict[tuple[str, str], Answer] = field(default_factory=dict)


_watchers: dict[int, Watcher] = {}


def watcher_for(settings: Settings) -> Watcher:
    """The one of this process and these settings."""
    found = _watchers.get(id(settings))
    if found is None or found.settings is not settings:
        introduce(settings.watch.contact_url)
        found = Watcher(settings, make_resolver(settings.dns), Sessions(settings))
        _watchers.clear()
        _watchers[id(settings)] = found
    return found


def _seen(facts: Facts, answers: _Answers) -> Seen:
    looked_at: dict[str, datetime] = {}
    ids, old = [], []
    for (host, address), answer in answers.of.items():
        known = answer.known
        if known.looked_at is not None:
            looked_at[host] = max(known.looked_at, looked_at.get(host, known.looked_at))
        if answer.look_id is not None:
            ids.append(answer.look_id)
        elif answer.session.reach in (Reach.SILENT, Reach.TURNED_AWAY):
            old.append((f"{host} at {address}", answer.session.reason))
        if answer.why_old:
            when = f"{known.observed_at:%Y-%m-%d %H:%M} UTC" if known.observed_at else "before"
            old.append((f"{host} at {address}", f"{answer.why_old}; judged by what was seen {when}"))
    return Seen(facts, tuple(ids), looked_at, tuple(old))
