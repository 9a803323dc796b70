import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailward.cli import supervisor as module
from mailward.cli.supervisor import Child, Supervisor
from mailward.net import pulse
from mailward.net.listening import open_stream, place_of

STAYS = "import time; time.sleep(60)"
SERVES = """
import os, select, socket, time
listener = socket.socket(fileno=int(os.environ["MAILWARD_SOCKETS"].partition("=")[2]))
os.write(int(os.environ["MAILWARD_PULSE"]), b".")
while True:
    select.select([listener], [], [])
    listener.accept()[0].sendall(b"%d" % os.getpid())
"""
HANGS = "import os, time; os.write(int(os.environ['MAILWARD_PULSE']), b'.'); time.sleep(60)"
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


async def test_the_standing_tells_how_often_a_child_ended_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervised(child("a", STAYS), child("b", DIES)) as supervisor:
        await until(lambda: supervisor.standing()[1].ends > 1)
        assert supervisor.standing()[0].ends == 0
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.0)
    async with supervised(child("b", DIES)) as supervisor:
        await until(lambda: supervisor.starts["b"] > 3)
        assert supervisor.standing()[0].ends <= 1, "each one lived long enough"


async def test_a_child_that_cannot_be_started_is_tried_again_and_the_others_never_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "program"
    supervisor = Supervisor((child("a", STAYS), Child("b", (str(program),))), first_delay_seconds=0.05)
    running = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: running.done() or "child-died" in caplog.text)
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o700)
        await until(lambda: running.done() or "b" in supervisor.processes)
        assert not running.done()
        assert supervisor.processes["a"].returncode is None
    finally:
        supervisor.stop()
        await running


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


def serving(listener: socket.socket) -> Child:
    return Child("a", (sys.executable, "-S", "-c", SERVES), {"web": [listener]}, is_vital=True)


async def whom(listener: socket.socket) -> int:
    """The process that answers."""
    reader, writer = await asyncio.open_connection(*place_of(listener))
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return int(said)


async def test_who_connects_while_a_child_is_dead_is_answered_by_the_next() -> None:
    with open_stream(("127.0.0.1", 0)) as listener:
        async with supervised(serving(listener)) as supervisor:
            first = supervisor.processes["a"].pid
            assert await whom(listener) == first
            os.kill(first, signal.SIGSTOP)
            waiting = [asyncio.create_task(whom(listener)) for _ in range(20)]
            await asyncio.sleep(0.05)
            os.kill(first, signal.SIGKILL)
            answered = set(await asyncio.gather(*waiting))
            assert answered == {supervisor.processes["a"].pid} != {first}


async def test_a_child_is_ready_once_its_pulse_is_felt() -> None:
    with open_stream(("127.0.0.1", 0)) as listener:
        async with supervised(serving(listener), child("silent", STAYS)) as supervisor:
            assert await supervisor.wait_ready(0.0) != []
            await until(lambda: not supervisor.missing - {"silent"})
            assert await supervisor.wait_ready(0.0) == ["silent"]


async def test_a_child_whose_pulse_stops_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 0.02)
    monkeypatch.setattr(module, "HUNG_BEATS", 10)
    async with supervised(child("a", HANGS)) as supervisor:
        first = supervisor.processes["a"]
        await until(lambda: supervisor.processes["a"] is not first)
    assert first.returncode == -signal.SIGKILL


async def test_it_is_alive_as_long_as_vital_children_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 0.02)
    monkeypatch.setattr(module, "HUNG_BEATS", 10)
    vital = Child("vital", (sys.executable, "-S", "-c", DIES), is_vital=True)
    async with supervised(child("other", DIES)) as supervisor:
        await asyncio.sleep(0.5)
        assert supervisor.is_alive
    async with supervised(vital) as supervisor:
        assert supervisor.is_alive
        await until(lambda: not supervisor.is_alive)


async def test_what_needs_the_tables_starts_when_they_are_there() -> None:
    late = Child("late", (sys.executable, "-S", "-c", STAYS), needs_tables=True)
    supervisor = Supervisor([child("a", STAYS), late], grace_seconds=5)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: "a" in supervisor.processes)
    assert "late" not in supervisor.processes
    supervisor.go_on()
    await until(lambda: "late" in supervisor.processes)
    supervisor.stop()
    await running


async def test_what_waits_for_the_tables_does_not_keep_us_from_stopping() -> None:
    supervisor = Supervisor([Child("late", ("/nowhere",), needs_tables=True)])
    running = asyncio.create_task(supervisor.run())
    supervisor.stop()
    async with asyncio.timeout(5):
        await running
    assert supervisor.processes == {}
