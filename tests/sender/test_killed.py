"""A policy learned is a policy kept: the process is killed right after its first answer."""

import asyncio
import signal
import socket

import pytest
from tests.fakes.dns import Fault
from tests.fakes.policyhost import http
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.process import Process, make_process


async def ask(process: Process) -> str:
    async with await Client.connect(process.port) as client:
        return await client.ask(DOMAIN)


def everything_down(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL)
    lab.host.response = http(status="503 Down")


def https_down(lab: Lab) -> None:
    lab.host.response = http(status="503 Down")


def record_removed(lab: Lab) -> None:
    lab.dns.remove(f"_mta-sts.{DOMAIN}", "TXT")


@pytest.mark.parametrize("outage", [everything_down, https_down, record_removed])
async def test_after_kill_9_and_an_outage_the_policy_is_still_enforced(lab: Lab, outage: object) -> None:
    lab.publish()
    process = await make_process(lab).start()
    assert await ask(process) == SECURE
    assert await process.stop(signal.SIGKILL) == -signal.SIGKILL
    assert callable(outage)
    outage(lab)
    await process.start()
    assert await ask(process) == SECURE
    assert await process.stop(signal.SIGTERM) == 0


async def test_a_whole_life_in_the_log(lab: Lab) -> None:
    lab.publish()
    process = await make_process(lab).start()
    assert await ask(process) == SECURE
    assert await process.stop(signal.SIGTERM) == 0
    events = [line.split()[3] for line in process.log]
    assert events == ["started", "policy-learned", "decision-changed", "stopped"]


async def test_what_is_in_the_cache_answers_before_the_resolver_does(lab: Lab) -> None:
    lab.publish()
    process = await make_process(lab).start()
    assert await ask(process) == SECURE
    await process.stop(signal.SIGKILL)
    lab.dns.fail(Fault.SILENCE)
    await process.start()
    assert await ask(process) == SECURE
    await process.stop(signal.SIGTERM)


async def test_the_socket_of_systemd_outlives_the_process(lab: Lab) -> None:
    lab.publish()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = make_process(lab)
        process.port = listener.getsockname()[1]
        process.listener = listener.fileno()
        await process.start()
        assert await ask(process) == SECURE
        await process.stop(signal.SIGKILL)
        async with await Client.connect(process.port) as client:  # nobody is there: the kernel lets it wait
            asked = asyncio.create_task(client.ask(DOMAIN))
            await process.start()
            assert await asked == SECURE
        assert await process.stop(signal.SIGTERM) == 0


async def test_a_hangup_without_an_overrides_file_ends_nothing(lab: Lab) -> None:
    lab.publish()
    process = await make_process(lab).start()
    assert process.process is not None
    process.process.send_signal(signal.SIGHUP)
    assert await ask(process) == SECURE
    assert await process.stop(signal.SIGTERM) == 0


async def test_no_answer_waits_longer_for_a_resolver_that_is_silent_at_the_start(lab: Lab) -> None:
    lab.publish()
    process = await make_process(lab, dane="true").start()
    assert await ask(process) == SECURE
    await process.stop(signal.SIGKILL)
    lab.dns.fail(Fault.SILENCE)
    await process.start()
    async with await Client.connect(process.port) as known, await Client.connect(process.port) as new:
        async with asyncio.timeout(6):  # an answer is promised in five seconds
            answers = await asyncio.gather(known.ask(DOMAIN), new.ask("new.test"))
    assert list(answers) == [SECURE, "NOTFOUND "]
    await process.stop(signal.SIGTERM)


async def test_the_start_waits_for_no_resolver(lab: Lab) -> None:
    lab.dns.fail(Fault.SILENCE)
    process = await make_process(lab, dane="true").start()
    assert not [line for line in process.log if "dane-" in line]
    await process.stop(signal.SIGTERM)
