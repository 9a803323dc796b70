"""/metrics and /healthz of a running daemon."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes.ports import free_port
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.process import make_process

from mailward.core.sending.facts import Row
from mailward.sender.census import Census
from mailward.sender.exposition import Deferred, Scene, families, render_page
from mailward.sender.metrics import Metrics
from mailward.sender.signalnumbers import SignalNumbers

SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"\})? [0-9.e+-]+')


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_a_daemon_tells_its_numbers_and_its_health(lab: Lab) -> None:
    lab.publish()
    port = free_port()
    daemon = await make_process(lab, metrics_listen=f'"127.0.0.1:{port}"').start()
    async with await Client.connect(daemon.port) as client:
        assert await client.ask(DOMAIN) == SECURE
        assert await client.ask(DOMAIN) == SECURE
        status, page = await get(port, "/metrics")
    assert status == 200
    assert all(SAMPLE.fullmatch(line) for line in page.splitlines() if not line.startswith("#"))
    assert 'mailward_sender_answers_total{row="sts-enforce"} 2\n' in page
    assert "mailward_sender_memo_misses_total 1\n" in page
    assert "mailward_sender_policies 1\n" in page
    assert "mailward_sender_refresh_failing 0\n" in page
    status, health = await get(port, "/healthz")
    assert (status, json.loads(health)) == (
        200,
        {
            "status": "ok",
            "mode": "enforce",
            "dane": "off",
            "policies": 1,
            "refreshes_failing": 0,
            "policies_damaged": 0,
        },
    )
    assert (await get(port, "/else"))[0] == 404
    assert await daemon.stop(signal.SIGTERM) == 0


async def ask_health(listen: str) -> tuple[int, str]:
    """What the health check of a container does that runs the sender alone."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mailward", "health", "sender"],
        env=os.environ | {"MAILWARD_SENDER_METRICS_LISTEN": listen},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def test_a_health_check_asks_the_daemon(lab: Lab) -> None:
    port = free_port()
    place = f"127.0.0.1:{port}"
    assert (await ask_health(place))[1].startswith(f"mailward: {place} does not answer: ")
    assert await ask_health("") == (1, "mailward: sender.metrics_listen is empty: nobody can be asked\n")
    daemon = await make_process(lab, metrics_listen=f'"{place}"').start()
    assert await ask_health(place) == (0, "sender       ready\n")
    await daemon.stop(signal.SIGTERM)


async def test_an_unreadable_cache_is_no_health(lab: Lab) -> None:
    port = free_port()
    daemon = await make_process(lab, metrics_listen=f'"127.0.0.1:{port}"').start()
    for file in lab.folder.glob("cache.sqlite3*"):
        file.unlink()
    status, health = await get(port, "/healthz")
    assert (status, json.loads(health)["status"]) == (503, "cache-unreadable")
    assert await ask_health(f"127.0.0.1:{port}") == (1, "sender       NOT READY: cache-unreadable\n")
    await daemon.stop(signal.SIGTERM)


async def test_a_taken_port_stops_no_mail(lab: Lab) -> None:
    first = make_process(lab)
    daemon = await make_process(lab, metrics_listen=f'"127.0.0.1:{first.port}"').start()
    async with await Client.connect(daemon.port) as client:
        assert await client.ask(DOMAIN) == "NOTFOUND "
    taken = await make_process(lab, metrics_listen=f'"127.0.0.1:{daemon.port}"').start()
    async with await Client.connect(taken.port) as client:
        assert await client.ask(DOMAIN) == "NOTFOUND "
    await taken.stop(signal.SIGTERM)
    await daemon.stop(signal.SIGTERM)
    assert any(" metrics-not-served " in line for line in taken.log)


def scene(**changes: object) -> Scene:
    census = Census(2, 1, 60, 1, 3600)
    values = {"dane_on": True, "overrides": 1, "mode": "enforce", "started_at": 1.0, "census": census}
    return Scene(Metrics(), **(values | changes))  # type: ignore[arg-type]


def test_labels_of_strangers_stay_in_their_place() -> None:
    found = scene()
    found.metrics.fetch_failures['a"\n\\'] = 1
    assert b'{reason="a\\"\\n\\\\"} 1\n' in render_page(found)


def test_mail_that_waits_is_shown_by_row() -> None:
    page = render_page(scene(deferred={Row.STS_ENFORCE: Deferred(1, 4, 7200)}))
    assert b'mailward_sender_deferred_messages{row="sts-enforce"} 4\n' in page
    assert b'mailward_sender_deferred_oldest_seconds{row="sts-enforce"} 7200\n' in page


def test_every_metric_is_in_the_documentation() -> None:
    document = (Path(__file__).parents[2] / "docs" / "sender-operations.md").read_text()
    found = families(scene(signals=SignalNumbers().all()))
    names = [f"`{family.name}`" for family in found]
    assert [name for name in names if name not in document] == []
