"""Datagrams of Postfix's, from the socket to the counts, through crashes and full disks."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import time

import pytest
from tests.fakes.policyhost import http
from tests.fakes.ports import free_port
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.signallab import (
    EXPIRED,
    GOOD,
    SAMPLES,
    Sender,
    children,
    collector_of,
    counts_path,
    find_collector,
    find_companion,
    sessions,
    socket_path,
    until,
    with_collector,
)
from tests.sender.test_health import get

from mailward.core.names import parse_domain
from mailward.core.tlsrpt.counting import DomainDay
from mailward.core.tlsrpt.schema import Policy
from mailward.net import clock
from mailward.sender.counts import Counts
from mailward.sender.ring import SLOTS
from mailward.sender.signals import OWN_QUEUE_LENGTH, WANTED_QUEUE_LENGTH, read_queue_length


async def number(port: int, name: str) -> int:
    status, page = await get(port, "/metrics")
    assert status == 200
    [line] = [line for line in page.splitlines() if line.startswith(f"mailward_sender_{name} ")]
    return int(line.rpartition(" ")[2])


async def test_what_postfix_sends_is_counted_while_mail_goes_on(lab: Lab) -> None:
    lab.publish()
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    for path in sorted(SAMPLES.glob("*.json")):
        sender.send(path.read_bytes())
    sender.send(GOOD)
    async with await Client.connect(process.port) as client:
        assert await client.ask(DOMAIN) == SECURE
    await until(lambda: sessions(lab, "sts.test") == (2, 1))
    assert sessions(lab, "expired.test") == (0, 2)
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def test_what_comes_right_before_the_end_is_counted(lab: Lab) -> None:
    process = await with_collector(lab).start()
    await until(lambda: find_collector(process))
    sender = Sender(socket_path(lab))
    for _ in range(1000):
        sender.send(GOOD)
    assert await process.stop(signal.SIGTERM) == 0
    assert sessions(lab, "sts.test") == (1000, 0)
    sender.close()


async def test_what_comes_while_a_killed_collector_is_replaced_is_counted(lab: Lab) -> None:
    lab.publish()
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    await until(lambda: find_collector(process))
    os.kill(collector_of(process), signal.SIGKILL)
    await until(lambda: find_collector(process) is None)
    for _ in range(1000):
        sender.send(GOOD)
    async with await Client.connect(process.port) as client:
        assert await client.ask(DOMAIN) == SECURE
    await until(lambda: sessions(lab, "sts.test") == (1000, 0))
    assert await process.stop(signal.SIGTERM) == 0
    assert any(" companion-died companion=collector status=-9 " in line for line in process.log)
    sender.close()


async def test_a_receiver_that_is_killed_again_and_again_loses_nothing(lab: Lab) -> None:
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    for _ in range(5):
        await until(lambda: find_companion(process, "receiver"))
        for number in range(400):
            sender.send(GOOD)
            if number == 200:
                os.kill(find_companion(process, "receiver") or 0, signal.SIGKILL)
    await until(lambda: sessions(lab, "sts.test") == (2000, 0))
    assert await process.stop(signal.SIGTERM) == 0
    assert sum(" companion-died companion=receiver status=-9 " in line for line in process.log) == 5
    assert sessions(lab, "sts.test") == (2000, 0)
    sender.close()


async def test_what_a_collector_that_stands_still_has_no_room_for_is_counted_as_dropped(lab: Lab) -> None:
    port = free_port()
    process = await with_collector(lab, metrics_listen=f'"127.0.0.1:{port}"').start()
    sender = Sender(socket_path(lab))
    sender.send(GOOD)
    await until(lambda: sessions(lab, "sts.test") == (1, 0))
    os.kill(collector_of(process), signal.SIGSTOP)
    sent = 1 + SLOTS + OWN_QUEUE_LENGTH + 100  # more than ring and queue have room for
    for _ in range(sent - 1):
        sender.send(GOOD)
    os.kill(collector_of(process), signal.SIGCONT)
    await until(lambda: sessions(lab, "sts.test")[0] > SLOTS)
    await process.until_logged(" signals-dropped count=")
    dropped = await number(port, "signals_dropped_total")
    await until(lambda: sum(sessions(lab, "sts.test")) + dropped == sent)
    assert dropped >= 100
    assert await number(port, "signals_received_total") == sent
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


@pytest.mark.timeout(180)
async def test_each_kill_loses_less_than_a_second_of_signals(lab: Lab) -> None:
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    dead: set[int | None] = {None}
    for _ in range(4):
        await until(lambda: find_collector(process) not in dead)
        collector = collector_of(process)
        dead.add(collector)
        before = sessions(lab, "expired.test")[1]
        sent = await _send_for(sender, 1.5)
        killed_at = time.monotonic()
        os.kill(collector, signal.SIGKILL)
        counted = sessions(lab, "expired.test")[1] - before
        assert counted >= len([at for at in sent if at < killed_at - 1])
        assert counted > 0
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def _send_for(sender: Sender, seconds: float) -> list[float]:
    """When each was taken by the kernel."""
    sent = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        sender.send(EXPIRED)
        sent.append(time.monotonic())
        await asyncio.sleep(0.002)
    return sent


async def test_a_locked_file_delays_and_loses_nothing(lab: Lab) -> None:
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    sender.send(GOOD)
    await until(lambda: sessions(lab, "sts.test") == (1, 0))
    with contextlib.closing(sqlite3.connect(counts_path(lab), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(500):
            sender.send(GOOD)
        await process.until_logged(" counts-not-written sessions=")
        other.execute("ROLLBACK")
    await until(lambda: sessions(lab, "sts.test") == (501, 0))
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def test_a_full_disk_delays_and_loses_nothing(lab: Lab) -> None:
    port = free_port()
    process = await with_collector(lab, metrics_listen=f'"127.0.0.1:{port}"').start()
    sender = Sender(socket_path(lab))
    sender.send(GOOD)
    await until(lambda: sessions(lab, "sts.test") == (1, 0))
    # no file grows beyond this; the kernel's answer is an error of the disk
    resource.prlimit(collector_of(process), resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    for _ in range(500):
        sender.send(GOOD)
    await process.until_logged(" counts-not-written sessions=")
    assert sessions(lab, "sts.test") == (1, 0)
    async with asyncio.timeout(60):
        while await number(port, "signals_uncommitted") != 500:  # noqa: ASYNC110 - they may come in two steps
            await asyncio.sleep(0.05)
    limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(collector_of(process), resource.RLIMIT_FSIZE, limit)
    await until(lambda: sessions(lab, "sts.test") == (501, 0))
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def test_damaged_datagrams_stop_nothing_and_are_kept_as_samples(lab: Lab) -> None:
    port = free_port()
    process = await with_collector(lab, metrics_listen=f'"127.0.0.1:{port}"', workers="2").start()
    sender = Sender(socket_path(lab))
    for raw in (b"", b"junk", b"\xff" * 100_000, b'{"dpv":"2"}', EXPIRED, EXPIRED):
        sender.send(raw)
    await until(lambda: sessions(lab, "expired.test") == (0, 2))
    assert await number(port, "signals_received_total") == 6
    assert await number(port, "signal_sessions_total") == 2
    assert await number(port, "signals_dropped_total") == 0
    page = (await get(port, "/metrics"))[1]
    assert 'mailward_sender_signals_unreadable_total{reason="damaged"} 3\n' in page
    assert 'mailward_sender_signals_unreadable_total{reason="version"} 1\n' in page
    assert await process.stop(signal.SIGTERM) == 0
    counts = Counts(counts_path(lab))
    assert sorted(each.code for each in counts.oddities()) == ["damaged", "damaged", "damaged", "version"]
    counts.close()
    sender.close()


async def test_the_socket_of_systemd_outlives_all_processes(lab: Lab) -> None:
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as source:
        source.bind(str(socket_path(lab)))
        process = with_collector(lab, metrics_listen=f'"127.0.0.1:{port}"')
        process.listener = source.fileno()
        await process.start()
        assert await number(port, "signal_queue_length") == min(read_queue_length(), WANTED_QUEUE_LENGTH)
        assert await number(port, "signals_received_total") == 0
        assert await process.stop(signal.SIGTERM) == 0
        sender = Sender(socket_path(lab), waits=False)
        for _ in range(5):
            sender.send(GOOD)
        await process.start()
        await until(lambda: sessions(lab, "sts.test") == (5, 0))
        assert await process.stop(signal.SIGTERM) == 0
        sender.close()


async def test_the_socket_has_a_long_queue_of_its_own(lab: Lab) -> None:
    port = free_port()
    process = await with_collector(lab, metrics_listen=f'"127.0.0.1:{port}"').start()
    await until(lambda: find_companion(process, "receiver"))
    own = read_queue_length() < WANTED_QUEUE_LENGTH
    assert await number(port, "signal_queue_length") == (OWN_QUEUE_LENGTH if own else read_queue_length())
    os.kill(find_companion(process, "receiver") or 0, signal.SIGSTOP)
    sender = Sender(socket_path(lab), waits=False)
    for _ in range(100):
        sender.send(GOOD)
    assert sender.lost == 0
    os.kill(find_companion(process, "receiver") or 0, signal.SIGCONT)
    await until(lambda: sessions(lab, "sts.test") == (100, 0))
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def test_a_parent_that_is_killed_leaves_nobody_behind(lab: Lab) -> None:
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    await until(lambda: find_collector(process))
    companions = children(process)
    for _ in range(100):
        sender.send(GOOD)
    assert await process.stop(signal.SIGKILL) == -signal.SIGKILL
    await until(lambda: not any(os.path.exists(f"/proc/{child}") for child in companions))  # noqa: PTH110 - no file
    assert sessions(lab, "sts.test") == (100, 0)
    await process.start()
    second = Sender(socket_path(lab))
    second.send(GOOD)
    await until(lambda: sessions(lab, "sts.test") == (101, 0))
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()
    second.close()


async def test_a_place_that_cannot_be_had_refuses_to_start(lab: Lab) -> None:
    socket_path(lab).write_text("no socket")
    process = with_collector(lab)
    with pytest.raises(AssertionError, match="is there, and is no socket"):
        await process.start()
    assert process.process is not None
    assert await process.process.wait() == 2


async def test_counts_that_cannot_be_opened_stop_no_mail(lab: Lab) -> None:
    lab.publish()
    counts_path(lab).parent.write_text("no folder")
    process = await with_collector(lab).start()
    sender = Sender(socket_path(lab))
    sender.send(GOOD)
    await process.until_logged(" counts-not-written sessions=1 ")
    async with await Client.connect(process.port) as client:
        assert await client.ask(DOMAIN) == SECURE
    counts_path(lab).parent.unlink()
    await until(lambda: sessions(lab, "sts.test") == (1, 0))
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


def _has_details(lab: Lab) -> bool:
    found = found_today(lab)
    return found is not None and bool(found.results[0].failure_details)


def record_for(lab: Lab) -> str:
    record = f"v=TLSRPTv1; rua=mailto:tls@{DOMAIN}"
    lab.dns.set(f"_smtp._tls.{DOMAIN}", "TXT", record)
    return record


def found_today(lab: Lab) -> DomainDay | None:
    if not counts_path(lab).exists():
        return None
    counts = Counts(counts_path(lab))
    found = counts.read_domain(clock.today(), parse_domain(DOMAIN))
    counts.close()
    return found


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (http(status="404 Not Found"), ("sts-policy-fetch-error", "status")),
        (http(b"version: STSv2\n"), ("sts-policy-invalid", "poli")),
    ],
)
async def test_a_policy_that_cannot_be_had_is_told_beside_the_session(
    lab: Lab, response: bytes, failure: tuple[str, str]
) -> None:
    lab.publish()
    lab.host.response = response
    record = record_for(lab)
    process = await with_collector(lab).start()
    async with await Client.connect(process.port) as client:
        for _ in range(3):
            assert await client.ask(DOMAIN) == "NOTFOUND "
    sender = Sender(socket_path(lab))
    wire = {"d": DOMAIN, "pr": record, "policies": [{"policy-type": 9, "t": 0, "f": 0}]}
    sender.send(json.dumps(wire).encode())
    await until(lambda: sessions(lab, DOMAIN) == (1, 0) and _has_details(lab))
    found = found_today(lab)
    assert found is not None
    [result] = found.results
    assert result.policy == Policy(policy_type="no-policy-found", policy_domain=DOMAIN)
    [detail] = result.failure_details
    assert (detail.result_type, detail.failed_session_count) == (failure[0], 1)
    assert (detail.failure_reason_code or "").startswith(failure[1])
    assert await process.stop(signal.SIGTERM) == 0
    sender.close()


async def test_nothing_is_told_to_whom_asks_for_no_reports(lab: Lab) -> None:
    lab.publish()
    lab.host.response = http(status="404 Not Found")
    process = await with_collector(lab).start()
    async with await Client.connect(process.port) as client:
        assert await client.ask(DOMAIN) == "NOTFOUND "
    await until(lambda: lab.asked(f"_smtp._tls.{DOMAIN}", "TXT"))
    assert await process.stop(signal.SIGTERM) == 0
    assert found_today(lab) is None
