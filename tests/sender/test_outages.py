"""No protected domain is answered as unprotected while its policy lives: whatever DNS, HTTPS, disk and clock do."""

import asyncio
import contextlib
import datetime as dt
import resource
import signal
import sqlite3
from collections.abc import Callable

import pytest
from tests.fakes.dns import Fault
from tests.fakes.policyhost import http
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab, policy
from tests.sender.process import Process, make_process

from mailward.core.mtasts.decide import Failure
from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.believed import BelievedTime
from mailward.sender.daemon import Daemon

NAME = Domain(DOMAIN)
WEEK, YEAR = dt.timedelta(days=7), dt.timedelta(days=365)


async def ask(daemon: Daemon) -> str:
    daemon.answers.memo.drop_all()
    frame = await daemon.answers.answer(f"QUERY {DOMAIN}".encode())
    return frame.partition(b":")[2][:-1].decode()


async def ask_process(process: Process, key: str = DOMAIN) -> str:
    async with await Client.connect(process.port) as client:
        return await client.ask(key)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def dns_is_silent(lab: Lab) -> None:
    lab.dns.fail(Fault.SILENCE)


def policy_host_is_silent(lab: Lab) -> None:
    lab.publish("2")
    lab.host.response = say_nothing


def all_is_down(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL)
    lab.host.response = http(status="503 Down")


@pytest.mark.parametrize("outage", [dns_is_silent, policy_host_is_silent])
async def test_a_black_hole_takes_no_policy_away_and_no_time(lab: Lab, outage: Callable[[Lab], None]) -> None:
    lab.publish()
    daemon = lab.daemon()
    assert await ask(daemon) == SECURE
    outage(lab)
    refresh = asyncio.create_task(daemon.knowledge.refresh(NAME))
    started = clock.monotonic()
    assert [await ask(daemon) for _ in range(100)] == [SECURE] * 100
    assert clock.monotonic() - started < 2
    refresh.cancel()
    lab.host.response = http()
    await daemon.knowledge.close()


class TestTheClock:
    @pytest.mark.parametrize("step", [WEEK, YEAR, -YEAR])
    async def test_set_wrong_it_ends_no_policy(self, lab: Lab, daemon: Daemon, step: dt.timedelta) -> None:
        lab.publish()
        assert await ask(daemon) == SECURE
        all_is_down(lab)
        with clock.stepped(step):
            assert await ask(daemon) == SECURE
            await daemon.knowledge.refresh(NAME)
            assert await ask(daemon) == SECURE
        assert await ask(daemon) == SECURE

    async def test_set_wrong_before_a_restart_it_ends_no_policy(self, lab: Lab) -> None:
        lab.publish()
        first = lab.daemon()
        assert await ask(first) == SECURE
        await first.knowledge.close()
        all_is_down(lab)
        with clock.stepped(YEAR):
            second = lab.daemon()
            assert await ask(second) == SECURE
            await second.knowledge.close()

    async def test_time_that_really_passes_ends_a_policy(self, lab: Lab, daemon: Daemon) -> None:
        lab.publish()
        assert await ask(daemon) == SECURE
        all_is_down(lab)
        with clock.frozen(clock.now() + WEEK):
            assert await ask(daemon) == "NOTFOUND "

    async def test_a_policy_host_that_tells_the_same_day_makes_it_believed(self) -> None:
        believed = BelievedTime()
        with clock.stepped(WEEK):
            assert believed.doubt_seconds == pytest.approx(WEEK.total_seconds(), abs=2)
            believed.confirm(clock.now() - WEEK)
            assert believed.doubt_seconds > 0
            believed.confirm(clock.now() - dt.timedelta(hours=1))
            assert believed.doubt_seconds == 0

    async def test_after_a_fetch_a_long_absence_is_believed(self, lab: Lab) -> None:
        lab.publish()
        first = lab.daemon()
        assert await ask(first) == SECURE
        await first.knowledge.close()
        with clock.stepped(2 * WEEK):  # to the next process, the machine was off for so long
            lab.publish("2", policy("none"))
            second = lab.daemon()
            assert await ask(second) == SECURE
            await second.knowledge.refresh(NAME)
            assert await ask(second) == "NOTFOUND "
            assert second.knowledge.now() == pytest.approx(clock.now().timestamp(), abs=2)
            await second.knowledge.close()

    async def test_a_failure_noted_in_the_future_puts_off_no_refresh(self, lab: Lab, daemon: Daemon) -> None:
        lab.publish()
        assert await ask(daemon) == SECURE
        entry = (await daemon.knowledge.state(NAME)).entry
        assert entry is not None
        ahead = int(clock.timestamp() + WEEK.total_seconds())
        cache = daemon.knowledge.cache
        await cache.note(NAME, entry.cached.fetched_at, Failure("1", ahead, 1), ahead)
        daemon.knowledge.hear_of(NAME)
        assert await cache.due(daemon.knowledge.now(), 10) == [NAME]
        await daemon.knowledge.refresh(NAME)  # too early to be fetched: but when is known again
        assert await cache.due(daemon.knowledge.now(), 10) == []
        lab.publish("2")
        await daemon.knowledge.refresh(NAME)
        assert len(lab.host.requests) == 2

    async def test_a_policy_fetched_in_the_future_is_fetched_again(self, lab: Lab) -> None:
        lab.publish()
        with clock.stepped(YEAR):
            first = lab.daemon()
            assert await ask(first) == SECURE
            await first.knowledge.close()
        second = lab.daemon()
        await second.knowledge.refresh(NAME)
        entry = await second.knowledge.cache.load(NAME)
        assert len(lab.host.requests) == 2
        assert entry is not None
        assert entry.cached.fetched_at == pytest.approx(clock.now().timestamp(), abs=2)
        await second.knowledge.close()


class TestAFullDisk:
    def fill(self, process: Process) -> None:
        """As good as a full disk to that process: no file may grow."""
        assert process.process is not None
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def empty(self, process: Process) -> None:
        assert process.process is not None
        no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, no_limit)

    def written(self, lab: Lab) -> bool:
        with contextlib.closing(sqlite3.connect(lab.sender.cache)) as cache:
            return bool(cache.execute("SELECT domain FROM policy").fetchall())

    async def test_at_first_contact_the_policy_holds_and_is_written_later(self, lab: Lab) -> None:
        lab.publish()
        process = await make_process(lab).start()
        self.fill(process)
        assert await ask_process(process) == SECURE
        all_is_down(lab)
        assert await ask_process(process) == SECURE
        self.empty(process)
        async with asyncio.timeout(20):
            while not self.written(lab):  # noqa: ASYNC110 - another process has no event for it
                await asyncio.sleep(0.1)
        await process.stop(signal.SIGKILL)
        assert any("cache-not-written" in line for line in process.log)
        await process.start()
        assert await ask_process(process) == SECURE
        await process.stop(signal.SIGTERM)

    async def test_at_refresh_the_policy_holds(self, lab: Lab) -> None:
        lab.publish()
        process = await make_process(lab, recheck_seconds="1").start()
        assert await ask_process(process) == SECURE
        self.fill(process)
        lab.publish("2")
        async with asyncio.timeout(10):
            while len(lab.host.requests) < 2:
                assert await ask_process(process) == SECURE
                await asyncio.sleep(0.1)
        all_is_down(lab)
        assert await ask_process(process) == SECURE
        await process.stop(signal.SIGKILL)
        await process.start()
        assert await ask_process(process) == SECURE
        await process.stop(signal.SIGTERM)


class TestDane:
    """`dane-only` that was true yesterday is not forgotten because somebody blocks DNS."""

    async def test_last_known_dane_survives_a_restart(self, lab: Lab) -> None:
        lab.sign()
        first = lab.daemon()
        first.knowledge.dane.is_on = True
        assert await ask(first) == "OK dane-only"
        await first.knowledge.close()
        lab.dns.fail(Fault.SERVFAIL)
        second = lab.daemon(dane=True)
        assert await second.look_at_validation() is True
        assert await ask(second) == "OK dane-only"
        with clock.frozen(clock.now() + dt.timedelta(days=1, seconds=1)):
            third = lab.daemon(dane=True)
            assert await third.look_at_validation() is False
            await third.knowledge.close()
        await second.knowledge.close()


async def test_killed_in_a_loop_under_load_it_never_says_unprotected(lab: Lab) -> None:
    lab.publish()
    process = make_process(lab)
    answers: set[str] = set()
    stopping = False

    async def load() -> None:
        while not stopping:
            try:
                async with await Client.connect(process.port) as client:
                    while not stopping:
                        answers.add(await client.ask(DOMAIN))
            except (OSError, asyncio.IncompleteReadError, ValueError):
                await asyncio.sleep(0.02)

    await process.start()
    assert await ask_process(process) == SECURE
    all_is_down(lab)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(load())
        for _ in range(4):
            await asyncio.sleep(0.2)
            await process.stop(signal.SIGKILL)
            await process.start()
        await asyncio.sleep(0.2)
        stopping = True
    await process.stop(signal.SIGTERM)
    assert answers == {SECURE}
