"""The real Prometheus scrapes an installation with all that it can have, and the sender beside it: every panel of both
boards shows a number, and every alert rule can be worked out.
"""

import asyncio
import json
import math
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import pytest
from tests.cli.test_serve import until
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port
from tests.fakes.relay import FakeRelay
from tests.fakes.socketmap import Client
from tests.observing.installation import ZONE, Observed
from tests.observing.test_boards import BOARDS, RULES, expressions, rule_expressions
from tests.prepared import prepare
from tests.sender.lab import DOMAIN, Lab, running_lab
from tests.sender.signallab import GOOD, Sender, find_collector, socket_path, with_collector
from tests.sender.signallab import until as until_async
from tests.sender.test_notices import waiting

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: mailward
    static_configs: [{{targets: [{targets}]}}]
"""
LOOK_AT_RECORDS = """
import django; django.setup()
from mailward.store.models import Domain
from mailward.store.services import outbox
outbox.put("records", str(Domain.objects.get().pk))
"""
SEND_A_MAIL = """
import asyncio, os, django; django.setup()
from mailward.config import load_settings
from mailward.notify.deliver import send_test
asyncio.run(send_test(load_settings(None, os.environ), "postmaster@example.net"))
"""


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **query: str) -> dict[str, Any]:
        """Raises OSError; HTTP 400 is for what is no PromQL."""
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["status"] == "success"
        data: dict[str, Any] = found["data"]
        return data

    def has_number(self, expression: str) -> bool:
        """Not NaN, as a quantile of nothing is."""
        filled = expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
        series = self.ask("/api/v1/query", query=filled)["result"]
        return any(not math.isnan(float(each["value"][1])) for each in series)

    def is_ready(self) -> bool:
        try:
            return self.has_number("count(up == 1) == 2 and count(mailward_up == 1) == 5")
        except OSError:
            return False

    def rules(self) -> dict[str, str]:
        """Name -> health."""
        groups = self.ask("/api/v1/rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


@contextmanager
def prometheus(folder: Path, *targets: int) -> Iterator[Prometheus]:
    program, port = shutil.which("prometheus"), free_port()
    assert program, "scripts/test-needs installs prometheus"
    config = folder / "prometheus.yml"
    places = ", ".join(f'"127.0.0.1:{target}"' for target in targets)
    config.write_text(CONFIG.format(rules=RULES, targets=places))
    words = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def whole_house(folder: Path) -> Iterator[Observed]:
    """With a certificate of a CA's, a relay that has taken a mail, and a backup."""
    with ExitStack() as stack:
        names, relay = FakeDns(), stack.enter_context(FakeRelay())
        stack.enter_context(names.threaded())
        for name in ("mta-sts.example.test", "reports.example.test"):
            names.set(name, "A", "127.0.0.1")
        names.set("_mailward-challenge.example.test", "TXT", "mailward-claim=c")
        http_port = free_port()
        pebble = stack.enter_context(Pebble(folder / "pebble", dns=names.address, http_port=http_port))
        directory = pebble.directory
        (folder / "mailward.toml").write_text(
            f'[[acme.directories]]\nurl = "{directory.url}"\nca_file = "{directory.ca_file}"\n'
        )
        roots = folder / "roots.pem"
        roots.write_bytes(pebble.roots())
        extra = {
            "SSL_CERT_FILE": str(roots),  # it fetches its own policies
            "MAILWARD_CONFIG": str(folder / "mailward.toml"),
            "MAILWARD_ACME_HTTP_PORT": str(http_port),
            "MAILWARD_ACME_REACH_PORT": str(http_port),
            "MAILWARD_DNS_RESOLVERS": names.address,
            "MAILWARD_DNS_AUTHORITATIVE_OVERRIDE": names.address,
            "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES": "true",
            "MAILWARD_RELAY_HOST": "127.0.0.1",
            "MAILWARD_RELAY_PORT": str(relay.port),
            "MAILWARD_RELAY_SECURITY": "none",
            "MAILWARD_RELAY_SENDER": "mailward@example.net",
        }
        house = Observed(prepare(folder / "data"), extra=extra)
        house.start()
        stack.callback(house.stop)
        house.host_a_policy()
        house.run_in_django(LOOK_AT_RECORDS)
        house.run_in_django(SEND_A_MAIL)
        subprocess.run([sys.executable, "-m", "mailward", "backup"], env=house.environment, check=True)
        (house.data / "ca").mkdir(exist_ok=True)
        (house.data / "ca" / "ca.pem").write_bytes(roots.read_bytes())  # where who asks this house looks
        until(house.fetch_policy, seconds=120)
        yield house


@dataclass
class Beside:
    """A sender with its collector, which a Postfix asks: one domain has a policy, and the other a broken one."""

    lab: Lab
    port: int
    metrics_port: int

    async def work(self) -> None:
        async with await Client.connect(self.port) as client:
            await client.ask(DOMAIN)
            await client.ask("broken.test")
        postfix = Sender(socket_path(self.lab))
        postfix.send(GOOD)
        postfix.send(b"no report")
        postfix.close()


@asynccontextmanager
async def sender_beside(folder: Path) -> AsyncIterator[Beside]:
    """Names and policies are served by this loop: nothing else may block it."""
    queue, port = folder / "queue.json", free_port()
    queue.write_bytes(b"\n".join(waiting()) + b"\n")
    async with running_lab(folder) as lab:
        lab.publish()
        lab.dns.set("_mta-sts.broken.test", "TXT", "v=STSv1; id=1;")
        lab.dns.set("mta-sts.broken.test", "A", "127.0.0.1")  # its certificate is for another name
        own = {"metrics_listen": f'"127.0.0.1:{port}"', "queue_command": f'["cat", "{queue}"]'}
        process = await with_collector(lab, **own).start()
        try:
            await until_async(lambda: find_collector(process))
            await process.until_logged(" mail-deferred ")
            yield Beside(lab, process.port, port)
        finally:
            assert await process.stop(signal.SIGTERM) == 0


def use(house: Observed) -> None:
    """What strangers and people do to it in a minute."""
    assert house.fetch_policy()
    assert house.post_report((Path(__file__).parent / "report.json").read_bytes()) in {200, 201}
    assert house.mail_report(b"Subject: no report\r\n\r\nnothing to read\r\n") == {}
    house.ask_dns(dns.message.make_query(f"nothing.{ZONE}", "TXT").to_wire())
    assert house.get("/login/", house.ports["CONSOLE_PORT"])[0] == 200


@pytest.fixture
def sender_folder(tmp_path: Path) -> Path:
    (tmp_path / "sender").mkdir()
    return tmp_path / "sender"


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_every_panel_shows_a_number_and_every_rule_can_be_worked_out(
    tmp_path: Path, sender_folder: Path
) -> None:
    with whole_house(tmp_path) as house:
        async with sender_beside(sender_folder) as beside:
            with prometheus(tmp_path, house.metrics_port, beside.metrics_port) as found:
                await asyncio.to_thread(until, found.is_ready, 60)
                await until_nothing_is_silent(found, house, beside)
                await asyncio.to_thread(until, lambda: set(found.rules().values()) == {"ok"})
                assert len(found.rules()) == len(rule_expressions())
                alerts = {each["labels"]["alertname"] for each in found.ask("/api/v1/alerts")["alerts"]}
                assert (
                    alerts - {"MailwardLoopSlow"} == set()
                )  # pending ones too; a busy machine makes it late


async def until_nothing_is_silent(found: Prometheus, house: Observed, beside: Beside) -> None:
    silent = [each for board in BOARDS for each in expressions(board)]
    ends = time.monotonic() + 120
    while silent and time.monotonic() < ends:
        await asyncio.to_thread(use, house)
        await beside.work()
        silent = [each for each in silent if not await asyncio.to_thread(found.has_number, each)]
    assert silent == []
