"""A daemon whose machine's clock is moved, by libfaketime (Debian's `faketime`): the real process, the real calls.

What the machine has run since its start is not moved by who sets its clock, and not here either.
"""

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from tests.fakes.policyhost import http
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, POLICY, SECURE, Lab
from tests.sender.process import Process, make_process

from mailward.net import clock

DAY = timedelta(days=1)
OTHER = "other.test"
MOVES = [timedelta(hours=5), 3 * DAY, 30 * DAY, 365 * DAY, 3650 * DAY]
ENDED = "NOTFOUND "


def find_library() -> str:
    """What faketime(1) puts before a program."""
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    name = said.split(":")[-1]
    if "/" in name:
        return name
    return str(next(Path("/usr/lib").glob(f"*/faketime/{name}")))


@dataclass
class Machine:
    """One whose clock can be set while a daemon runs on it."""

    lab: Lab
    file: Path
    ports: Iterator[int]

    def set_clock(self, by: timedelta) -> None:
        self.file.write_text(f"{by.total_seconds():+.0f}\n")

    async def start(self) -> Process:
        process = make_process(self.lab)
        process.environment = {
            "LD_PRELOAD": find_library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return await process.start()

    async def ask(self, process: Process, domain: str = DOMAIN) -> str:
        """A question that was never asked before: its answer is in no memory."""
        async with await Client.connect(process.port) as client:
            return await client.ask(f"[{domain}]:{next(self.ports)}")

    def block(self) -> None:
        """From now on, whoever is on the way lets nothing through."""
        self.lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
        self.lab.host.response = b""


@pytest.fixture
def machine(lab: Lab) -> Machine:
    lab.publish()
    machine = Machine(lab, lab.folder / "clock", count(1000))
    machine.set_clock(timedelta())
    return machine


async def test_the_daemon_sees_the_clock_that_is_set(machine: Machine) -> None:
    machine.set_clock(3650 * DAY)
    process = await machine.start()
    assert await process.stop(signal.SIGTERM) == 0
    assert process.log[-1][:3] == f"{(clock.now() + 3650 * DAY):%Y}"[:3]


@pytest.mark.parametrize("by", [*MOVES, *(-by for by in MOVES)], ids=str)
async def test_a_clock_that_is_moved_ends_no_policy(machine: Machine, by: timedelta) -> None:
    process = await machine.start()
    assert await machine.ask(process) == SECURE
    machine.block()
    machine.set_clock(by)
    assert await machine.ask(process) == SECURE
    await process.stop(signal.SIGKILL)
    process = await machine.start()  # with the clock still wrong
    assert await machine.ask(process) == SECURE
    machine.set_clock(timedelta())
    assert await machine.ask(process) == SECURE
    assert await process.stop(signal.SIGTERM) == 0


async def test_after_a_long_stop_an_ended_policy_holds_until_a_policy_host_tells_the_time(
    machine: Machine,
) -> None:
    lab = machine.lab
    lab.publish(body=POLICY.replace(b"604800", b"86400"))
    process = await machine.start()
    assert await machine.ask(process) == SECURE
    await process.stop(signal.SIGTERM)
    machine.block()
    machine.set_clock(3 * DAY)  # and this time it is so
    process = await machine.start()
    assert await machine.ask(process) == SECURE
    publish_other(lab, 3 * DAY)
    assert await machine.ask(process, OTHER) == SECURE
    assert await machine.ask(process) == ENDED
    assert await process.stop(signal.SIGTERM) == 0


async def test_a_policy_host_that_tells_another_time_ends_nothing(machine: Machine) -> None:
    process = await machine.start()
    assert await machine.ask(process) == SECURE
    machine.block()
    machine.set_clock(9 * DAY)
    publish_other(machine.lab, timedelta())
    assert await machine.ask(process, OTHER) == SECURE
    assert await machine.ask(process) == SECURE
    assert await process.stop(signal.SIGTERM) == 0


def publish_other(lab: Lab, by: timedelta) -> None:
    """Another domain, whose policy host is reached, and says that time."""
    path = lab.folder / "other.pem"
    path.write_bytes(lab.authority.issue_pem(f"mta-sts.{OTHER}"))
    lab.host.context.load_cert_chain(path)
    lab.dns.set(f"mta-sts.{OTHER}", "A", "127.0.0.1")
    lab.dns.set(f"_mta-sts.{OTHER}", "TXT", "v=STSv1; id=1;")
    with clock.frozen(clock.now() + by):
        lab.host.response = http(POLICY)
