"""`mailward sender run` with its collector and a log: this process sends the datagrams, and logs as smtp(8) does."""

import asyncio
import json
import os
import signal
from pathlib import Path

import msgspec
import pytest
from tests.sender.lab import Lab
from tests.sender.signallab import Sender, counts_path, sessions, socket_path, until, with_collector

from mailward.config import Settings, Tlsrpt
from mailward.net import clock
from mailward.sender import logobserver
from mailward.sender.blindspots import BlindSpots
from mailward.sender.counts import Counts
from mailward.sender.logobserver import LogObserver

RECORD = "v=TLSRPTv1; rua=mailto:tls@a.test"
STRINGS = ["version: STSv1", "mode: testing", "mx: mx.a.test", "max_age: 86400"]
SUCCESS = json.dumps(
    {
        "d": "a.test",
        "pr": RECORD,
        "policies": [
            {
                "policy-type": 2,
                "policy-domain": "a.test",
                "policy-string": STRINGS,
                "mx-host": ["mx.a.test"],
                "t": 0,
                "f": 0,
            }
        ],
    }
).encode()


def write(log: Path, host: str) -> None:
    head = f"{clock.now().isoformat()} m postfix/smtp[{os.getpid()}]:"
    relay = f"{host}[192.0.2.1]"
    with log.open("a") as stream:
        stream.write(f"{head} Trusted TLS connection established to {relay}:25: TLSv1.3 with cipher X\n")
        stream.write(f"{head} TLSRPT: status=success, domain=a.test, receiving_mx={relay}\n")


def send(sender: Sender, log: Path, host: str) -> None:
    sender.send(SUCCESS)
    write(log, host)


async def test_a_success_with_another_host_becomes_a_failure_and_the_sum_stays(
    lab: Lab, tmp_path: Path
) -> None:
    log = tmp_path / "mail.log"
    log.touch()
    process = await with_collector(lab, f'log = "{log}"').start()
    await process.until_logged(" log-followed ")
    sender = Sender(socket_path(lab))
    for host in ("mx.a.test", "mx.evil.test", "mx.a.test"):
        send(sender, log, host)
    await until(lambda: sessions(lab, "a.test") == (2, 1))
    sender.close()
    assert await process.stop(signal.SIGTERM) == 0


async def test_sessions_outside_any_log_stay_as_they_were_counted(lab: Lab, tmp_path: Path) -> None:
    process = await with_collector(lab, f'log = "{tmp_path / "none.log"}"').start()
    sender = Sender(socket_path(lab))
    sender.send(SUCCESS)
    await until(lambda: sessions(lab, "a.test") == (1, 0))
    await process.until_logged(" log-not-readable ")
    sender.close()
    assert await process.stop(signal.SIGTERM) == 0


def test_the_place_is_committed_with_what_it_stands_for(tmp_path: Path) -> None:
    counts = Counts(tmp_path / "counts.sqlite3")
    assert counts.place() is None
    counts.add([], "7:100")
    counts.add([])
    counts.close()
    again = Counts(tmp_path / "counts.sqlite3")
    assert again.place() == "7:100"
    again.close()


async def test_a_mistake_of_ours_there_is_said_and_the_log_is_followed_again(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logobserver, "RESTART_SECONDS", 0.0)
    steps = 0
    step = BlindSpots.step

    async def fail_once(self: BlindSpots) -> bool:
        nonlocal steps
        steps += 1
        if steps == 1:
            raise RuntimeError("a mistake of ours")
        return await step(self)

    monkeypatch.setattr(BlindSpots, "step", fail_once)
    tlsrpt = Tlsrpt(log=str(tmp_path / "mail.log"), counts=str(counts_path(lab)))
    settings: Settings = msgspec.structs.replace(lab.settings(), tlsrpt=tlsrpt)
    observer = LogObserver(settings)
    observer.start()
    await until(lambda: steps > 2)
    await asyncio.to_thread(observer.stop)
    assert "log-observer-crashed" in caplog.text
    assert observer.take() == ([], None)
