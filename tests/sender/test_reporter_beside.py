"""The reporter as a child of `mailward sender run`."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.relay import FakeRelay
from tests.sender.lab import Lab
from tests.sender.process import Process, make_process
from tests.sender.reportlab import tally

from mailward.net import clock
from mailward.sender.counts import Counts


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(number) for number in found]


def find_reporter(pid: int) -> int:
    """Among the children."""
    [reporter] = [
        each for each in children_of(pid) if "mw-reporter" in Path(f"/proc/{each}/comm").read_text()
    ]
    return reporter


def is_alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and " Z " not in path.read_text()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes have no event for it
            await asyncio.sleep(0.05)


async def until_mail(relay: FakeRelay, count: int) -> None:
    await until(lambda: len(relay.mails) >= count)


def with_reports(lab: Lab, relay: FakeRelay, **changes: str) -> Process:
    process = make_process(lab, **changes)
    lines = [
        "[tlsrpt]",
        f'socket = "{lab.folder}/tlsrpt.sock"',
        'contact = "tls@sender.example"',
        "spread_minutes = 0",
        'smtp_host = "127.0.0.1"',
        f"smtp_port = {relay.port}",
    ]
    text = process.config.read_text()
    process.config.write_text("\n".join([f'data = "{lab.folder}"', text, *lines]))
    return process


def count_yesterday(lab: Lab, domain: str) -> None:
    counts = Counts(lab.folder / "sender-tlsrpt.sqlite3")
    day = clock.today().fromordinal(clock.today().toordinal() - 2)
    counts.add([tally(domain, day=day)])
    counts.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_reports_go_out_beside_the_policy_server_and_again_after_a_crash(
    lab: Lab, workers: str
) -> None:
    count_yesterday(lab, "one.example")
    with FakeRelay() as relay:
        process = await with_reports(lab, relay, workers=workers).start()
        try:
            await until_mail(relay, 1)
            assert process.process is not None
            reporter = find_reporter(process.process.pid)
            os.kill(reporter, signal.SIGKILL)
            counts = Counts(lab.folder / "sender-tlsrpt.sqlite3")
            counts.add([tally("two.example", day=clock.today().fromordinal(clock.today().toordinal() - 3))])
            counts.close()
            await until_mail(relay, 2)
        finally:
            assert await process.stop(signal.SIGTERM) == 0
        assert any("companion-died companion=reporter" in line for line in process.log)


async def test_a_reporter_ends_with_its_parent_however_that_died(lab: Lab) -> None:
    count_yesterday(lab, "one.example")
    with FakeRelay() as relay:
        process = await with_reports(lab, relay).start()
        await until_mail(relay, 1)
        assert process.process is not None
        reporter = find_reporter(process.process.pid)
        await process.stop(signal.SIGKILL)
        await until(lambda: not is_alive(reporter))
