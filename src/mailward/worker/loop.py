"""The loops: one for each kind of work, one for the time, all until we are told to stop."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence

from django.db import Error as DatabaseError

from mailward.config import Settings
from mailward.net import clock, metrics, pulse, tracing
from mailward.store.aio import in_store
from mailward.store.services import outbox
from mailward.store.services.outbox import Claimed
from mailward.worker.arrivals import LOOK_SECONDS, Arrivals
from mailward.worker.census import CensusTaker
from mailward.worker.clocks import PAUSE_SECONDS, ClockCheck
from mailward.worker.handlers import HANDLERS, Failure, Failures, Handler
from mailward.worker.health import keep_health, keep_rooms
from mailward.worker.numbers import COUNTS
from mailward.worker.outage import AWAY, Outage
from mailward.worker.timed import Schedule

_log = logging.getLogger(__name__)
TIMER_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 5.0
"""What is being done may end in this time when we are told to stop; then it is given back."""
_MOST_ROUNDS = 1_000


async def run(settings: Settings) -> None:
    """Work until cancelled."""
    COUNTS.begin(handler.kind for handler in HANDLERS)
    metrics.tell(COUNTS.families)
    metrics.tell_health(COUNTS.health)
    stopping = asyncio.Event()
    work = asyncio.create_task(_run_all(settings, stopping))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        stopping.set()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(STOP_SECONDS):
                await work
        raise


async def run_once(settings: Settings) -> None:
    """Do all work that is due, and what follows from it at once. For tests, and for one pass by hand."""
    for _ in range(_MOST_ROUNDS):
        done = [await work_once(settings, handler) for handler in _handlers(settings)]
        if not any(done):
            return


def _handlers(settings: Settings) -> Sequence[Handler]:
    """Of the work that this machine does; the rest waits for another node."""
    return [handler for handler in HANDLERS if settings.watch.from_here or not handler.is_look]


async def _run_all(settings: Settings, stopping: asyncio.Event) -> None:
    clocks, outage = ClockCheck(), Outage()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(pulse.keep())
        group.create_task(_keep_time(settings, clocks, outage, stopping))
        group.create_task(keep_health(settings, outage, stopping))
        group.create_task(keep_rooms(settings, stopping))
        if metrics.is_asked():
            taker = CensusTaker(settings, [handler.kind for handler in HANDLERS])
            metrics.tell(taker.families)
            group.create_task(_follow(taker, stopping))
        handlers = _handlers(settings)
        arrivals = Arrivals(handler.kind for handler in handlers)
        group.create_task(_turn("queue", functools.partial(_look, arrivals, clocks), outage, stopping))
        for handler in handlers:
            for lane in range(handler.lanes):
                does = functools.partial(
                    work_once, settings, handler, newest_first=handler.takes_newest and lane == 1
                )
                work = functools.partial(_work, handler.kind, does, arrivals, clocks, stopping)
                group.create_task(_turn(handler.kind, work, outage, stopping))
        await stopping.wait()
        arrivals.let_all_go()
        beating.cancel()


async def _turn(
    kind: str, turn: Callable[[], Awaitable[float]], outage: Outage, stopping: asyncio.Event
) -> None:
    """Again and again, whatever one turn ends with. `turn`: returns the seconds until the next."""
    troubles = 0
    while not stopping.is_set():
        try:
            pause = await turn()
            troubles = 0
        except Exception as error:  # noqa: BLE001 - the top of a task
            if isinstance(error, AWAY):
                outage.met(error)
            else:
                _log.exception("worker-trouble", extra={"kind": kind})
            troubles += 1
            COUNTS.troubles += 1
            pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(troubles, 10))
        else:
            outage.ended()
            COUNTS.turned()
        await _sleep(pause, stopping)


async def _look(arrivals: Arrivals, clocks: ClockCheck) -> float:
    if not await clocks.agrees():
        return PAUSE_SECONDS
    await arrivals.look()
    return LOOK_SECONDS


async def _work(
    kind: str,
    does: Callable[[], Awaitable[int]],
    arrivals: Arrivals,
    clocks: ClockCheck,
    stopping: asyncio.Event,
) -> float:
    await arrivals.wait(kind)
    if stopping.is_set():
        return 0.0
    if not await clocks.agrees():
        return PAUSE_SECONDS
    if not await does():
        arrivals.is_done(kind)
    return 0.0


async def _keep_time(settings: Settings, clocks: ClockCheck, outage: Outage, stopping: asyncio.Event) -> None:
    schedule = Schedule()
    while not stopping.is_set():
        try:
            if await clocks.agrees():
                await schedule.run_due(settings)
        except AWAY as error:
            outage.met(error)
        except DatabaseError as error:
            _log.error("timed-work-failed", extra={"reason": error})
        await _sleep(TIMER_SECONDS, stopping)


async def _follow(taker: CensusTaker, stopping: asyncio.Event) -> None:
    following = asyncio.create_task(taker.follow())
    await stopping.wait()
    following.cancel()


async def _sleep(seconds: float, stopping: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


async def work_once(settings: Settings, handler: Handler, *, newest_first: bool = False) -> int:
    """Claim a batch of this kind and do it. Returns how many items were claimed."""
    items = await in_store(
        outbox.claim, [handler.kind], handler.batch, handler.lease, newest_first=newest_first
    )
    if not items:
        return 0
    start = clock.monotonic()
    try:
        with tracing.span(f"work {handler.kind}", {"mailward.items": len(items)}):
            failures = await _handle(settings, handler, items)
    except asyncio.CancelledError:
        # told to stop: others, or we after a restart, need not wait for the lease to end
        await in_store(outbox.give_back, items)
        raise
    await in_store(_finish, handler, items, failures)
    seconds = clock.monotonic() - start
    COUNTS.did(handler.kind, len(items), len(failures), seconds)
    ms = round(seconds * 1000)
    _log.info(
        "work-done", extra={"kind": handler.kind, "items": len(items), "failed": len(failures), "ms": ms}
    )
    return len(items)


async def _handle(settings: Settings, handler: Handler, items: Sequence[Claimed]) -> Failures:
    try:
        return await handler.run(settings, items)
    except AWAY as error:
        # the database is busy or away, whatever the items
        return dict.fromkeys((item.id for item in items), Failure(f"database: {error}"))
    except Exception as error:  # noqa: BLE001 - the top of a task: one bad item must not stop its kind for ever
        _log.exception("work-failed", extra={"kind": handler.kind, "items": len(items), "key": items[0].key})
        if len(items) == 1:
            return {items[0].id: Failure(f"{type(error).__name__}: {error}")}
        middle = len(items) // 2
        halves = [await _handle(settings, handler, half) for half in (items[:middle], items[middle:])]
        return {**halves[0], **halves[1]}


def _finish(handler: Handler, items: Sequence[Claimed], failures: Failures) -> None:
    again = [item for item in items if item.id in failures and not failures[item.id].is_final]
    for item in again:
        failure = failures[item.id]
        delay = failure.wait or min(outbox.backoff(item.attempts, handler.first_wait), handler.longest_wait)
        outbox.retry(item, failure.reason, delay)
    ended = {item.id for item in again}
    outbox.done(item for item in items if item.id not in ended)
