"""`mailward sender run`: all parts put together, and their life from start to stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailward.config import Settings
from mailward.core.sending.facts import Level, Site
from mailward.net.dnssec import Trust, check_validation
from mailward.net.guard import make_guard
from mailward.net.resolver import Resolver
from mailward.sender.answers import Answers
from mailward.sender.cache import PolicyCache
from mailward.sender.control import Journal
from mailward.sender.discovery import make_discovery
from mailward.sender.health import Health
from mailward.sender.knowledge import Knowledge
from mailward.sender.metrics import Metrics
from mailward.sender.notices import Notices
from mailward.sender.refresh import Refresher
from mailward.sender.server import Server
from mailward.sender.shadow import ShadowAnswers, ShadowJournal
from mailward.sender.signals import Signals
from mailward.sender.sitetable import open_site_table
from mailward.sender.sockets import open_sockets
from mailward.sender.sqlite import SqliteCache
from mailward.sender.unmet import UnmetPolicies
from mailward.sender.watch import OverridesFile
from mailward.sender.workers import ALONE, Worker

logger = logging.getLogger("mailward.sender")

LOOKUP_SECONDS = 4.0  # of one name: less than a client is promised its answer in
VALIDATION_SECONDS = 3600.0  # between two looks at a resolver that validates
FIRST_RETRY_SECONDS, RETRY_SECONDS = 1.0, 30.0  # and at one that does not, yet: it may be starting, as we are


@dataclass(slots=True)
class Daemon:
    settings: Settings
    knowledge: Knowledge
    answers: Answers
    server: Server
    refresher: Refresher
    overrides: OverridesFile | None
    journal: Journal
    notices: Notices
    unmet: UnmetPolicies | None = None
    """None: no reports are made."""
    said: tuple[str, str] = ("", "")
    """The last event and reason about DNSSEC."""

    async def look_at_validation(self) -> bool:
        """Turn DANE on or off as the resolver deserves; whether it is on."""
        settings = self.settings.sender
        knowledge = self.knowledge
        if not settings.dane:
            return False
        validation = await check_validation(
            knowledge.discovery.resolver, settings.dnssec_secure_name, settings.dnssec_bogus_name
        )
        was_on = knowledge.dane.is_on
        if validation.trust is not Trust.NOT_KNOWN:
            knowledge.dane.is_on = validation.trust is Trust.VALIDATES
        elif not was_on and await knowledge.dane.was_seen():
            knowledge.dane.is_on = True
        if knowledge.dane.is_on != was_on:
            knowledge.dane.forget()
            self.answers.memo.drop_all()
        if knowledge.dane.is_on and validation.trust is Trust.NOT_KNOWN:
            level, event = logging.WARNING, "dane-not-checked"
        elif knowledge.dane.is_on:
            level, event = logging.INFO, "dane-on"
        else:
            level, event = logging.ERROR, "dane-off"
        if (event, validation.reason) != self.said:  # looked at every half minute, some servers for years
            logger.log(level, event, extra={"reason": validation.reason})
        self.said = event, validation.reason
        knowledge.dane.validation_seen.set()
        return knowledge.dane.is_on

    async def watch_validation(self) -> None:
        """Until cancelled."""
        retry = FIRST_RETRY_SECONDS
        while True:
            on = await self.look_at_validation()
            await asyncio.sleep(VALIDATION_SECONDS if on else retry)
            retry = FIRST_RETRY_SECONDS if on else min(2 * retry, RETRY_SECONDS)


def make_site(settings: Settings) -> Site:
    level = settings.sender.default_level
    return Site(Level(level) if level else None, settings.sender.record_failure == "temp")


def make_sender_resolver(settings: Settings) -> Resolver:
    return Resolver(
        settings.dns.resolvers,
        settings.dns.authoritative_override,
        timeout_seconds=LOOKUP_SECONDS,
        guard=make_guard(settings.dns),
    )


def make_daemon(
    settings: Settings, cache: PolicyCache, resolver: Resolver, signals: Signals | None = None
) -> Daemon:
    """Raises OverridesInvalid, SiteTableInvalid, CacheError or FetchError."""
    metrics = Metrics()
    discovery = make_discovery(settings, resolver)
    knowledge = Knowledge(cache, discovery, metrics, settings.sender.recheck_seconds)
    if not settings.sender.dane:
        knowledge.dane.validation_seen.set()
    answers = _make_answers(settings, knowledge, metrics)
    overrides = None
    if settings.sender.overrides:
        overrides = OverridesFile(Path(settings.sender.overrides), answers)
        overrides.load()
    journal = Journal(settings.sender_cache_path, knowledge)
    return Daemon(
        settings,
        knowledge,
        answers,
        Server(answers),
        Refresher(knowledge),
        overrides,
        journal,
        Notices(settings, answers),
        _make_unmet(settings, knowledge, signals),
    )


def _make_unmet(settings: Settings, knowledge: Knowledge, signals: Signals | None) -> UnmetPolicies | None:
    """In shadow mode, Postfix does not go by our policies."""
    if signals is None or settings.sender.mode != "enforce":
        return None
    unmet = UnmetPolicies(knowledge.discovery.resolver, signals.inbox.send, settings.sender.default_level)
    knowledge.on_unmet = unmet.note
    return unmet


def _make_answers(settings: Settings, knowledge: Knowledge, metrics: Metrics) -> Answers:
    """Raises SiteTableInvalid or CacheError."""
    site = make_site(settings)
    if settings.sender.mode == "enforce":
        return Answers(knowledge, site, metrics)
    table = open_site_table(settings.sender.shadow_table)
    return ShadowAnswers(knowledge, site, metrics, table, ShadowJournal(settings.sender_shadow_path))


def open_listeners(settings: Settings) -> list[socket.socket]:
    """Raises ListenError."""
    return open_sockets(settings.sender.listen, int(settings.sender.socket_mode, 8), os.environ)


async def run(
    settings: Settings,
    worker: Worker = ALONE,
    sockets: Sequence[socket.socket] | None = None,
    signals: Signals | None = None,
) -> None:
    """Until SIGTERM or SIGINT. Raises CacheError, FetchError, ListenError, OverridesInvalid or SiteTableInvalid
    where it cannot start.
    """
    cache = SqliteCache(settings.sender_cache_path, settings.sender.max_domains)
    daemon = make_daemon(settings, cache, make_sender_resolver(settings), signals)
    daemon.refresher.share = (worker.number, worker.count)
    daemon.journal.is_shared = worker.count > 1
    if worker.hearsay is not None and worker.count > 1:
        daemon.answers.join(worker.hearsay)
    sockets = open_listeners(settings) if sockets is None else sockets
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, daemon.overrides.reload if daemon.overrides else _nothing)
    if not settings.sender.default_level:
        effect = "testing policies and partial DANE are left alone"
        if settings.sender.dane:
            effect += ", and mail waits (TEMP dane-unknown-deferred) while DANE cannot be looked up"
        logger.warning("default-level-not-told", extra={"effect": effect})
    await daemon.server.start(sockets)
    _leave_garbage_alone()
    health = Health(daemon.answers, settings.sender_cache_path, settings.sender.mode)
    health.deferred = lambda: daemon.notices.deferred
    health.signals = signals.numbers if signals else None
    metrics = None
    if settings.sender.metrics_listen:
        metrics = await health.start(settings.sender.metrics_listen, worker.number)
    places = " ".join(_place(listener) for listener in sockets)
    logger.info("started", extra={"mode": settings.sender.mode, "listen": places})
    worker.tell_ready()
    background = [asyncio.create_task(work) for work in _background(daemon, worker)]
    try:
        await _until(stopping, background)
    finally:
        worker.tell_stopping()
        if metrics is not None:
            await metrics.close()
        await daemon.server.stop()
        await _cancel(background)
        if isinstance(daemon.answers, ShadowAnswers):
            await daemon.answers.close()
        await daemon.knowledge.close()
        logger.info("stopped")


def _background(daemon: Daemon, worker: Worker) -> Iterator[Coroutine[Any, Any, None]]:
    yield daemon.refresher.run()
    yield daemon.journal.run()
    if worker.number == 0:  # one of them is enough to tell people
        yield daemon.notices.run()
    if isinstance(daemon.answers, ShadowAnswers):
        yield daemon.answers.journal.run()
    if daemon.settings.sender.dane:
        yield daemon.watch_validation()
    if daemon.overrides is not None:
        yield daemon.overrides.run()
    if daemon.unmet is not None:
        yield daemon.unmet.run()


async def _until(stopping: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Returns when told to stop; raises what ended a background task."""
    waiter = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({waiter, *background}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    for task in done - {waiter}:
        task.result()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _leave_garbage_alone() -> None:
    """What is here now stays, and is not walked through again. What comes later, mostly answers, makes few cycles,
    and a walk through a hundred thousand of them would hold up everybody.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _nothing() -> None:
    """SIGHUP without an overrides file: no reason to die."""


def _place(listener: socket.socket) -> str:
    name = listener.getsockname()
    return f"unix:{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"
