"""Several processes on one socket and one cache."""

import asyncio
import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.process import Process, make_process

from mailward.core.names import Domain
from mailward.sender.control import purge_domains

CLIENTS = 12


def children(process: Process) -> list[int]:
    assert process.process is not None
    pid = process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def started(process: Process, count: int) -> None:
    """Until so many more workers answer."""
    while count:
        process.log.append(await process.line())
        count -= " started " in process.log[-1]


async def ask_all(port: int) -> list[str]:
    """Through connections of their own, so that every worker gets some."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Client.connect(port)) for _ in range(CLIENTS)]
        return [await client.ask(DOMAIN) for client in clients]


@pytest.fixture
async def pair(lab: Lab) -> Process:
    lab.publish()
    process = await make_process(lab, workers="2").start()
    await started(process, 1)
    return process


async def test_all_workers_answer_from_one_cache(lab: Lab, pair: Process) -> None:
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    assert 1 <= len(lab.host.requests) <= 2
    lab.publish("2", b"")
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    assert await pair.stop(signal.SIGTERM) == 0
    assert len([line for line in pair.log if line.endswith(" stopped")]) == 2


async def test_a_worker_that_is_killed_is_replaced_and_the_socket_stays(lab: Lab, pair: Process) -> None:
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    os.kill(children(pair)[0], signal.SIGKILL)
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    async with asyncio.timeout(20):
        await started(pair, 1)
    assert len(children(pair)) == 2
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    assert await pair.stop(signal.SIGTERM) == 0


async def test_a_purge_reaches_every_worker(lab: Lab, pair: Process) -> None:
    assert await ask_all(pair.port) == [SECURE] * CLIENTS
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
    purge_domains(lab.settings().sender_cache_path, [Domain(DOMAIN)], 100)
    seen = 0
    async with asyncio.timeout(20):
        while seen < 2:
            seen += " changed-by-command " in await pair.line()
    assert await ask_all(pair.port) == ["NOTFOUND "] * CLIENTS
    assert await pair.stop(signal.SIGTERM) == 0


async def test_workers_that_cannot_start_end_with_the_reason(lab: Lab) -> None:
    (lab.folder / "cache.sqlite3").write_text("no database, and long enough to be looked at as one " * 9)
    process = make_process(lab, workers="2")
    with pytest.raises(AssertionError, match="file is not a database"):
        await process.start()
    assert process.process is not None
    assert await process.process.wait() == 2


async def test_what_is_due_is_divided_by_name_and_nothing_is_left_out(lab: Lab) -> None:
    lab.publish()
    first = lab.daemon()
    await first.answers.answer(f"QUERY {DOMAIN}".encode())
    with contextlib.closing(sqlite3.connect(lab.folder / "cache.sqlite3")) as cache, cache:
        cache.execute("UPDATE policy SET refresh_at = 0, fetched_at = fetched_at - 172800")
    fetched = []
    for number in range(3):
        daemon = lab.daemon()
        daemon.refresher.share = (number, 3)
        before = len(lab.host.requests)
        await daemon.refresher.tick()
        fetched.append(len(lab.host.requests) - before)
        await daemon.knowledge.close()
    assert sorted(fetched) == [0, 0, 1]
    await first.knowledge.close()


async def test_what_one_worker_has_learned_no_other_denies(lab: Lab) -> None:
    pair = await make_process(lab, workers="2").start()
    await started(pair, 1)
    clients = [await Client.connect(pair.port) for _ in range(CLIENTS)]
    for client in clients:  # kept by every worker, for a minute at least
        assert [await client.ask(DOMAIN), await client.ask(DOMAIN)] == ["NOTFOUND "] * 2
    lab.publish()
    # the worker that takes the place of this one looks anew; the other has half of the clients at least
    before = children(pair)
    os.kill(min(before, key=open_files), signal.SIGKILL)
    async with asyncio.timeout(20):
        await started(pair, 1)
    [survivor] = [pid for pid in children(pair) if pid in before]
    os.kill(survivor, signal.SIGSTOP)  # the kernel may give all connections to one of them, and does at times
    async with asyncio.timeout(20), await Client.connect(pair.port) as client:
        assert await client.ask(DOMAIN) == SECURE
    os.kill(survivor, signal.SIGCONT)
    answers = [await _ask_and_leave(client) for client in clients]
    assert {SECURE} <= set(answers) <= {SECURE, ""}
    assert await pair.stop(signal.SIGTERM) == 0


async def _ask_and_leave(client: Client) -> str:
    """Nothing where its worker was killed."""
    with contextlib.suppress(OSError, EOFError):
        async with client:
            return await client.ask(DOMAIN)
    return ""


async def test_what_another_process_learns_ends_what_was_said_before(lab: Lab) -> None:
    pair = await make_process(lab, workers="2").start()
    await started(pair, 1)
    assert await ask_all(pair.port) == ["NOTFOUND "] * CLIENTS  # and kept for a minute at least
    lab.publish()
    other = await make_process(lab).start()
    async with await Client.connect(other.port) as client:
        assert await client.ask(DOMAIN) == SECURE
    async with asyncio.timeout(20):
        answers: list[str] = []
        while answers != [SECURE] * CLIENTS:
            answers = await ask_all(pair.port)
    assert await other.stop(signal.SIGTERM) == 0
    assert await pair.stop(signal.SIGTERM) == 0
