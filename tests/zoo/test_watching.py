"""A watched domain breaks: real servers, a real relay, and a worker whose clock the test moves on.

Two domains share an MX host, so that its faults are one problem with both.
"""

import json
import mailbox
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
from tests.zoo.rows import Mx, Row
from tests.zoo.servers import SENDER, Servers, running_zoo

from mailward.lab.mta import HOME
from mailward.lab.network import address, run

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

SHARED = "version: STSv1\nmode: enforce\nmx: mx.watched.test\nmax_age: 2419200\n"
ROWS = (
    Row("watched", "none, until it breaks", policy=SHARED, mx=(Mx(),)),
    Row("beside", "none, until its host breaks", policy=SHARED, mx=(), mx_records=("10 mx.watched.test.",)),
)
RELAY_PORT = 2525
HOUR, MINUTE = 3600, 60
DAY = 24 * HOUR
MAKE = """
import django; django.setup()
from mailward.cli.prepare import prepare
from mailward.config import load_settings
prepare(load_settings())
from mailward.store.models import *
o = Organisation.objects.create(name="Example Ltd", report_token="org-example")
for name in ("watched.test", "beside.test"):
    Domain.objects.create(organisation=o, name=name, report_token=name, claim_token="c")
u = User.objects.create_user("ada@example.net", "correct horse battery", name="Ada")
Membership.objects.create(organisation=o, user=u, role=Role.OWNER)
"""
PASS = """
import asyncio, django, json, sys; django.setup()
from mailward.config import load_settings
from mailward.worker import run_once
from mailward.worker.timed import TIMED
async def work():
    settings = load_settings()
    await next(timed for timed in TIMED if timed.name == "watch").run(settings)
    await run_once(settings)
asyncio.run(work())
from mailward.store.models import *
rows = ProblemDomain.objects.filter(problem__closed_at=None, gone_at=None).order_by("problem_id", "domain__name")
problems = {}
for row in rows.select_related("problem", "domain"):
    problems.setdefault(f"{row.problem.cause} {row.problem.host}", []).append(row.domain.name)
looks = MxLook.objects.count()
unobserved = list(Watch.objects.values_list("unobserved", flat=True))
letters = {check.domain.name: check.letter for check in Check.objects.filter(last_at=None)}
print(json.dumps({"problems": problems, "looks": looks, "unobserved": unobserved, "letters": letters}))
"""

SHOW = """
import django; django.setup()
from django.test import Client
from mailward.store.models import User
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.get())
print(client.get("/domains/watched.test/checks/").content.decode())
"""


@dataclass
class House:
    servers: Servers
    folder: Path
    environment: dict[str, str]
    seconds: int = 0
    """How far the clock is ahead."""
    seen: dict[str, Any] = field(default_factory=dict)

    def run(self, code: str) -> str:
        command = [*self.servers.network.inside("sender"), sys.executable, "-c", code]
        environment = self.environment | {"MAILWARD_CLOCK_OFFSET_SECONDS": str(self.seconds)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pass_time(self, seconds: int) -> dict[str, list[str]]:
        """Let time pass, and a worker do what is due then. Returns the open problems with their domains."""
        self.seconds += seconds
        self.seen = json.loads(self.run(PASS).splitlines()[-1])
        problems: dict[str, list[str]] = self.seen["problems"]
        return problems

    def settle(self, seconds: int) -> dict[str, list[str]]:
        """After so long, what is new is seen, and seen once more."""
        self.pass_time(seconds)
        self.pass_time(6 * MINUTE)
        return self.pass_time(6 * MINUTE)

    def subjects(self) -> list[str]:
        mails = mailbox.Maildir(self.folder / "mail")
        return sorted(str(make_header(decode_header(mail["Subject"]))) for mail in mails)

    def mails(self) -> str:
        texts = (mail.get_payload(decode=True) for mail in mailbox.Maildir(self.folder / "mail"))
        return "\n".join(text.decode() for text in texts if isinstance(text, bytes))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    folder = tmp_path_factory.mktemp("watching")
    with running_zoo(ROWS) as servers:
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("MAILWARD_", "DJANGO"))}
        kept |= {key: text for key, text in os.environ.items() if key == "MAILWARD_TREES"}
        environment = kept | {
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
            "MAILWARD_DATA": str(folder / "data"),
            "MAILWARD_DNS_RESOLVERS": "127.0.0.1",
            "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES": "true",
            "MAILWARD_WATCH_CA_FILE": str(servers.zoo.root_file),
            "MAILWARD_WATCH_EHLO_NAME": "sender.test",
            "MAILWARD_RELAY_HOST": "127.0.0.1",
            "MAILWARD_RELAY_PORT": str(RELAY_PORT),
            "MAILWARD_RELAY_SECURITY": "none",
            "MAILWARD_RELAY_SENDER": "mailward@example.net",
            "MAILWARD_PROBLEMS_SETTLE_MINUTES": "5",
        }
        house = House(servers, folder, environment)
        house.run(MAKE)
        relay = [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{RELAY_PORT}"]
        relay += ["-c", "aiosmtpd.handlers.Mailbox", str(folder / "mail")]
        process = subprocess.Popen([*servers.network.inside("sender"), *relay])
        try:
            yield house
        finally:
            process.terminate()
            process.wait()


def _zone(house: House) -> list[str]:
    return list(house.servers.dns.zones["watched.test."].lines)


def _swap_certificate(house: House, kind: str) -> None:
    name = "mx.watched.test"
    chain = house.servers.zoo.issue(kind, name)
    (house.servers.postfix.home / f"tls/{name}.pem").write_bytes(chain.pem)
    house.servers.postfix.command("postfix", "-c", HOME, "reload")
    time.sleep(1)  # master tells its children by and by


def test_two_sound_domains_have_no_problem_and_share_a_look(house: House) -> None:
    assert house.settle(0) == {}
    assert house.seen["looks"] == 1
    assert house.seen["letters"] == {"watched.test": "A", "beside.test": "A"}
    assert house.subjects() == []


def test_a_certificate_that_is_swapped_is_one_problem_of_both_told_once_and_over_when_mended(
    house: House,
) -> None:
    _swap_certificate(house, "self-signed")
    problem = {"certificate-self-signed mx.watched.test": ["beside.test", "watched.test"]}
    assert house.settle(DAY + 3 * HOUR) == problem
    house.pass_time(6 * MINUTE)
    assert house.subjects() == ["Mailward: certificate is self-signed on mx.watched.test (2 domains)"]
    assert "Mailward saw it itself, looking at 2 domains from outside." in house.mails().replace("\n", " ")
    assert "OpenSSL 18" in house.mails()
    assert house.settle(2 * HOUR) == problem
    _swap_certificate(house, "good")
    assert house.settle(2 * HOUR) == {}
    assert len(house.subjects()) == 1


def test_an_mx_host_that_the_policy_does_not_name_is_told_within_an_interval(house: House) -> None:
    lines = _zone(house)
    more = ["@ MX 20 new", f"new A {address(house.servers.numbers['mx.watched.test'])}"]
    house.servers.dns.change("watched.test.", *lines, *more)
    time.sleep(1)
    found = house.settle(HOUR + 10 * MINUTE)
    assert found["mx-not-in-policy new.watched.test"] == ["watched.test"]
    house.pass_time(6 * MINUTE)
    assert len([subject for subject in house.subjects() if "new.watched.test" in subject]) == len(found)
    house.servers.dns.change("watched.test.", *lines)
    time.sleep(1)
    assert house.settle(HOUR + 10 * MINUTE) == {}


def test_a_policy_that_is_removed_is_told_once_and_over_when_it_is_back(house: House) -> None:
    path = house.servers.postfix.root / "zoo/mta-sts.watched.test-0/.well-known/mta-sts.txt"
    text = path.read_bytes()
    path.unlink()
    before = house.subjects()
    found = house.settle(HOUR + 10 * MINUTE)
    assert found["policy-not-there mta-sts.watched.test"] == ["watched.test"]
    house.pass_time(6 * MINUTE)
    new = [subject for subject in house.subjects() if subject not in before]
    assert any("mta-sts.watched.test" in subject for subject in new)
    path.write_bytes(text)
    house.settle(HOUR + 10 * MINUTE)
    assert not {key for key in house.pass_time(HOUR + 10 * MINUTE) if key.startswith("policy-")}
    assert len(house.subjects()) == len(before) + len(new)


def test_without_a_route_for_ipv6_such_addresses_are_not_observed_and_open_nothing(house: House) -> None:
    lines = _zone(house)
    open_before, letters = house.pass_time(0), house.seen["letters"]
    house.servers.dns.change("watched.test.", *lines, "mx AAAA 2001:db8::25")
    time.sleep(1)
    assert house.settle(HOUR + 10 * MINUTE) == open_before
    assert house.seen["letters"] == letters
    told = house.run(SHOW)
    assert "mx.watched.test at 2001:db8::25" in told
    assert "no route from here" in told
    house.servers.dns.change("watched.test.", *lines)
    time.sleep(1)
    house.settle(HOUR + 10 * MINUTE)


def test_a_way_that_is_blocked_is_not_observed_and_opens_nothing(house: House) -> None:
    open_before = house.pass_time(0)
    letters = house.seen["letters"]
    network = house.servers.network
    # what the MX host answers gets lost, as behind a provider's firewall
    run("ip", "-n", network.name("receiver"), "route", "add", "blackhole", f"{address(SENDER)}/32")
    assert house.settle(DAY + 3 * HOUR) == open_before
    assert house.seen["letters"] == letters
    told = [reason for rows in house.seen["unobserved"] for _, reason in rows]
    assert told
    assert all("no connection within 10 seconds; judged by what was seen" in reason for reason in told)
