"""Two worker processes on one database: MX addresses get one look, people one mail."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.relay import FakeRelay

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
DOMAINS = tuple(f"d{number}.test" for number in range(24))
WORK = """
from dataclasses import replace
from mailward.cli import children
children.set_up_django()
from mailward.worker import loop
# so that one worker does not take all at once, and a DNS server in Python is not asked faster than it can answer
loop.HANDLERS = tuple(replace(each, batch=1) if each.kind == "watch" else each for each in loop.HANDLERS)
children.app(["_worker"])
"""
MAKE = """
import django, sys; django.setup()
from mailward.cli.prepare import prepare
from mailward.config import load_settings
prepare(load_settings())
from mailward.net import clock
from mailward.store.models import *
o = Organisation.objects.create(name="Example Ltd", report_token="org-example")
for name in sys.argv[1:]:
    domain = Domain.objects.create(organisation=o, name=name, report_token=name, claim_token=name)
    Watch.objects.create(organisation=o, domain=domain, due_at=clock.now())  # all at once, not spread over an hour
u = User.objects.create_user("ada@example.net", "correct horse battery", name="Ada")
Membership.objects.create(organisation=o, user=u, role=Role.OWNER)
"""
LOOK = """
import django; django.setup()
from mailward.store.models import *
print(Watch.objects.filter(checked_at__isnull=False, is_pending=False).count(), OutboxItem.objects.count(),
      Problem.objects.filter(closed_at=None).count(), ProblemDomain.objects.filter(gone_at=None).count(),
      Notification.objects.count(), Check.objects.filter(last_at=None).count(), MxLook.objects.count())
"""
DAY_SECONDS = 26 * 3600


class House:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.ahead = 0
        """How far the clock is, in seconds."""

    def run(self, code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def counts(self) -> tuple[int, ...]:
        """Domains that are settled, work that waits, open problems, their domains, mails, states, looks."""
        return tuple(map(int, self.run(LOOK).split()))

    @contextlib.contextmanager
    def two_workers(self) -> Iterator[None]:
        command = [sys.executable, "-c", WORK]
        both = []
        for number in range(2):
            with (self.folder / f"worker-{number}-{self.ahead}.log").open("wb") as log:
                worker = subprocess.Popen(command, env=self._environment(), stderr=log, stdout=log)
            both.append(worker)
        try:
            yield
            assert [worker.poll() for worker in both] == [None, None], "both are at work to the end"
        finally:
            for worker in both:
                worker.send_signal(signal.SIGTERM)
            for worker in both:
                worker.wait(30)

    def until(self, is_so: Callable[[tuple[int, ...]], bool]) -> tuple[int, ...]:
        deadline = time.monotonic() + 300
        while not is_so(counts := self.counts()):
            assert time.monotonic() < deadline, counts
            time.sleep(1)
        return counts

    def did(self, words: str) -> list[bool]:
        """Whether each worker's log has that."""
        logs = sorted(self.folder.glob(f"worker-*-{self.ahead}.log"))
        return [words in log.read_text() for log in logs]

    def _environment(self) -> dict[str, str]:
        return self.environment | {"MAILWARD_CLOCK_OFFSET_SECONDS": str(self.ahead)}


def dials(server: FakeMailServer) -> int:
    return sum(line.startswith("EHLO") for line in server.commands) - server.commands.count("STARTTLS")


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set("mx.example.net", "A", *ADDRESSES)
    for name in DOMAINS:
        server.set(name, "MX", "10 mx.example.net.")
    with server.threaded():
        yield server


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[FakeMailServer]]:
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    with contextlib.ExitStack() as stack:
        made = [FakeMailServer(authority.issue("mx.example.net")) for _ in ADDRESSES]
        for server, address in zip(made, ADDRESSES, strict=True):
            server.port = made[0].port  # one port for all
            stack.enter_context(server.running(address))
        yield made


@pytest.fixture
def house(tmp_path: Path, dns: FakeDns, servers: list[FakeMailServer], relay: FakeRelay) -> House:
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("MAILWARD_", "DJANGO"))}
    house = House(
        tmp_path,
        kept
        | {
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
            "MAILWARD_DATA": str(tmp_path / "data"),
            "MAILWARD_DNS_RESOLVERS": dns.address,
            "MAILWARD_DNS_AUTHORITATIVE_OVERRIDE": dns.address,
            "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES": "true",
            "MAILWARD_WATCH_SMTP_PORT": str(servers[0].port),
            "MAILWARD_WATCH_HTTPS_PORT": "1",
            "MAILWARD_WATCH_CA_FILE": str(tmp_path / "authority" / "Test-Authority.pem"),
            "MAILWARD_WATCH_CONFIRM_MINUTES": "1",
            "MAILWARD_PROBLEMS_SETTLE_MINUTES": "0",
            "MAILWARD_RELAY_HOST": "127.0.0.1",
            "MAILWARD_RELAY_PORT": str(relay.port),
            "MAILWARD_RELAY_SECURITY": "none",
            "MAILWARD_RELAY_SENDER": "mailward@example.net",
        },
    )
    house.run(MAKE, *DOMAINS)
    return house


def test_two_workers_look_once_at_each_mx_address_and_tell_once(
    house: House, servers: list[FakeMailServer], relay: FakeRelay
) -> None:
    with house.two_workers():
        house.until(lambda counts: counts[0] == len(DOMAINS) and counts[1] == 0)
    assert house.did("work-done kind=watch") == [True, True], "the work was shared"
    assert [dials(server) for server in servers] == [1, 1, 1], "one look at each address, for all domains"
    assert house.counts()[-2:] == (len(DOMAINS), len(ADDRESSES))
    assert relay.mails == []
    for server in servers:
        server.replies["EHLO"] = b"250 mx.example.net\r\n"
    house.ahead += DAY_SECONDS
    with house.two_workers():
        # one problem with all domains, told, and nothing waits
        house.until(lambda counts: counts[1] == 0 and counts[2:5] == (1, len(DOMAINS), 1))
    assert house.did("work-done") == [True, True]
    # seen by one worker and once more by whoever came next; where two addresses had it twice, the third needs no more
    assert {dials(server) for server in servers} <= {2, 3}
    assert len(relay.mails) == 1
    assert b"no STARTTLS offered on mx.example.net" in relay.mails[0].content
