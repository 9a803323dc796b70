"""What time brings: a table of what to do how often."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailward.config import Settings
from mailward.net import clock
from mailward.notify import deliver, mxletters, waveletters
from mailward.store.aio import in_store
from mailward.store.services import (
    automatic,
    certificates,
    fetches,
    following,
    housekeeping,
    importing,
    leaving,
    notifications,
    problems,
    rollout,
    turns,
    watching,
    waves,
)
from mailward.worker.clockcheck import check_clock
from mailward.worker.handlers import HANDLERS
from mailward.worker.introduction import check_introduction
from mailward.worker.numbers import COUNTS
from mailward.worker.outage import AWAY
from mailward.worker.ownnames import plan_own_names

_log = logging.getLogger(__name__)
_RECORDS_AT_ONCE = 25
"""The timer runs four times a minute: 144,000 domains a day; four or five questions to a zone's servers for each."""
_VERIFICATIONS_AN_HOUR = 1_000
_FOLLOWED_A_MINUTE = 500
_LEAVING_AT_ONCE = 500
_WATCHED_AT_ONCE = 500
"""In the queue: the timer runs four times a minute, so 120,000 domains an hour."""

_CERTIFICATES_AT_ONCE = 500
_ROLLOUTS_AT_ONCE = 500
"""One batch of queries; 120,000 domains an hour."""


@dataclass(frozen=True, slots=True)
class Timed:
    name: str
    every: timedelta
    run: Callable[[Settings], Awaitable[None]]
    of_node: bool = False
    """About this machine: each node does it. All else is done by one of them."""


async def check_records(_settings: Settings) -> None:
    await in_store(housekeeping.put_record_checks, _RECORDS_AT_ONCE)


async def watch(settings: Settings) -> None:
    if settings.watch.enabled:
        await in_store(watching.plan_new, settings)
        await in_store(watching.put_due, _WATCHED_AT_ONCE)


async def introduce(settings: Settings) -> None:
    if settings.watch.enabled and settings.watch.from_here:
        await check_introduction(settings)


async def look_after_certificates(settings: Settings) -> None:
    if settings.acme.directories:
        await in_store(certificates.plan_new)
        await plan_own_names(settings)
        await in_store(certificates.put_due, _CERTIFICATES_AT_ONCE)


async def sweep_certificates(_settings: Settings) -> None:
    await in_store(certificates.sweep)


async def look_at_clock(settings: Settings) -> None:
    await check_clock(settings)


async def sweep_watching(settings: Settings) -> None:
    await in_store(watching.sweep, settings)


async def follow_mx(settings: Settings) -> None:
    await in_store(following.put_due, _FOLLOWED_A_MINUTE)
    await in_store(following.end_planned, settings.follow.planned_days, mxletters.never_came)


async def leave(_settings: Settings) -> None:
    await in_store(leaving.put_due, _LEAVING_AT_ONCE)


async def judge_rollouts(settings: Settings) -> None:
    await in_store(rollout.judge_due, settings, _ROLLOUTS_AT_ONCE)


async def watch_waves(_settings: Settings) -> None:
    await in_store(waves.put_due, waveletters.stopped)


async def assess_settled(_settings: Settings) -> None:
    await in_store(problems.put_settled)


async def verify_again(_settings: Settings) -> None:
    await in_store(housekeeping.put_verifications, _VERIFICATIONS_AN_HOUR)


async def sweep(_settings: Settings) -> None:
    await in_store(housekeeping.sweep, [handler.kind for handler in HANDLERS])


async def sweep_imports(_settings: Settings) -> None:
    await in_store(importing.sweep)
    await in_store(automatic.sweep)


async def sweep_fetches(settings: Settings) -> None:
    while await in_store(fetches.sweep_fetches, settings.policy_host.keep_fetches_days):
        pass


async def remove_orphans(_settings: Settings) -> None:
    await in_store(housekeeping.put_orphans)


async def check_relay(settings: Settings) -> None:
    """Until the relay is seen to work; from then on the mails themselves show it."""
    if await in_store(notifications.relay_works) is not True and not await in_store(notifications.has_mails):
        await deliver.check(settings)


TIMED = (
    # as often as the timer runs: people wait for what they have published, and what was seen once is to be seen again
    Timed("records", timedelta(seconds=10), check_records),
    Timed("watch", timedelta(seconds=10), watch),
    Timed("certificates", timedelta(seconds=10), look_after_certificates),
    Timed("certificate-sweep", timedelta(days=1), sweep_certificates),
    Timed("introduction", timedelta(days=1), introduce, of_node=True),
    Timed("clock", timedelta(hours=1), look_at_clock, of_node=True),
    Timed("watch-sweep", timedelta(hours=1), sweep_watching),
    Timed("follow", timedelta(minutes=1), follow_mx),
    Timed("leaving", timedelta(minutes=10), leave),
    Timed("rollout", timedelta(seconds=10), judge_rollouts),
    Timed("waves", timedelta(minutes=1), watch_waves),
    # a day settles at midnight
    Timed("settled", timedelta(hours=1), assess_settled),
    Timed("verify", timedelta(hours=1), verify_again),
    Timed("sweep", timedelta(hours=1), sweep),
    Timed("imports-sweep", timedelta(hours=1), sweep_imports),
    Timed("fetches-sweep", timedelta(hours=1), sweep_fetches),
    Timed("orphans", timedelta(hours=1), remove_orphans),
    Timed("relay", timedelta(minutes=5), check_relay, of_node=True),
)


class Schedule:
    """When each was done last, by the clock that simulations set."""

    def __init__(self) -> None:
        self._last: dict[str, datetime] = {}

    async def run_due(self, settings: Settings) -> None:
        """Do what is due. What fails is logged, and done again when it is due again."""
        now = clock.now()
        for timed in TIMED:
            last = self._last.get(timed.name)
            # a clock that went back must not stop everything until it has caught up
            if last is not None and last <= now < last + timed.every:
                continue
            self._last[timed.name] = now
            try:
                if timed.of_node or await in_store(turns.is_ours, timed.name, timed.every):
                    await timed.run(settings)
                    COUNTS.timed_at[timed.name] = clock.now().timestamp()
            except AWAY as error:
                COUNTS.timed_failures[timed.name] += 1
                _log.error("timed-work-failed", extra={"work": timed.name, "reason": error})
            except Exception:  # noqa: BLE001 - the top of a task: one that fails leaves the others alone
                COUNTS.timed_failures[timed.name] += 1
                _log.exception("timed-work-failed", extra={"work": timed.name})
