import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mailward.cli.supervisor import Child, Supervisor

STAYS = "import time; time.sleep(60)"
IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
DIES = "raise SystemExit(3)"


def child(name: str, code: str) -> Child:
    return Child(name, (sys.executable, "-S", "-c", code))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def supervised(*children: Child, grace_seconds: float = 5) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(children, first_delay_seconds=0.05, grace_seconds=grace_seconds)
    running = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: len(supervisor.processes) == len(children))
        yield supervisor
    finally:
        supervisor.stop()
        await running


async def test_a_killed_child_is_started_again_and_the_others_never_notice() -> None:
    async with supervised(child("a", STAYS), child("b", STAYS)) as supervisor:
        first, other = supervisor.processes["a"].pid, supervisor.processes["b"].pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.processes["a"].pid != first)
        assert supervisor.processes["b"].pid == other
        assert supervisor.processes["b"].returncode is None


async def test_the_pause_before_a_restart_doubles(caplog: pytest.LogCaptureFixture) -> None:
    async with supervised(child("a", DIES)):
        await until(lambda: len(caplog.records) >= 3)
    pauses = [vars(record)["again-in"] for record in caplog.records[:3]]
    assert pauses == ["0.05s", "0.1s", "0.2s"]
    assert vars(caplog.records[0])["status"] == "exit 3"


async def test_stop_ends_every_child() -> None:
    async with supervised(child("a", STAYS), child("b", STAYS)) as supervisor:
        pass
    assert [process.returncode for process in supervisor.processes.values()] == [-signal.SIGTERM] * 2


async def test_a_child_that_will_not_end_is_killed_after_the_grace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with supervised(child("a", IGNORES), grace_seconds=0.1) as supervisor:
        await asyncio.sleep(0.3)  # until it ignores SIGTERM
    assert supervisor.processes["a"].returncode == -signal.SIGKILL
    assert [record.getMessage() for record in caplog.records] == ["child-killed"]


async def test_stop_does_not_wait_for_a_pause_to_pass() -> None:
    supervisor = Supervisor([child("a", DIES)], first_delay_seconds=60)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: "a" in supervisor.processes and supervisor.processes["a"].returncode is not None)
    supervisor.stop()
    async with asyncio.timeout(5):
        await running
