"""A watched domain from outside: a DNS server and mail servers on loopback, and a relay for what people are told."""

import email
import email.policy
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.evidence import make_domains, make_organisation
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.relay import FakeRelay

from mailward.config import Dns, Settings, Watch
from mailward.net import clock
from mailward.store.models import (
    Check,
    Domain,
    Membership,
    MxLook,
    Organisation,
    Problem,
    Role,
    User,
    WatchFinding,
)
from mailward.worker import run_once
from mailward.worker.timed import TIMED

NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
MX = "mx.example.net"

pytestmark = pytest.mark.django_db


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set(MX, "A", "127.0.0.1")
    with server.threaded():
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[FakeMailServer]:
    made = FakeMailServer(authority.issue(MX))
    with made.running():
        yield made


@pytest.fixture
def settings(dns: FakeDns, authority: Authority, server: FakeMailServer, relay: FakeRelay) -> Settings:
    return Settings(
        dns=Dns(
            resolvers=(dns.address,), authoritative_override=(dns.address,), allow_private_addresses=True
        ),
        relay=relay.settings,
        watch=Watch(smtp_port=server.port, ca_file=str(authority.file), https_port=1),
    )


@pytest.fixture
def organisation() -> Organisation:
    made = make_organisation()
    Membership.objects.create(
        organisation=made, user=User.objects.create(email="alice@example.net"), role=Role.READER
    )
    return made


def add(dns: FakeDns, organisation: Organisation, *names: str) -> list[Domain]:
    """Domains without MTA-STS, on the one MX host."""
    for name in names:
        dns.set(name, "MX", f"10 {MX}.")
        dns.set(f"_smtp._tls.{name}", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{name}")
    return make_domains(organisation, names)


def work(settings: Settings, at: datetime) -> None:
    """What a worker does that looks at the time at this moment."""
    with clock.frozen(at):
        for timed in TIMED:
            if timed.name == "watch":
                async_to_sync(timed.run)(settings)
        async_to_sync(run_once)(settings)


def watch(settings: Settings, start: datetime, hours: float) -> datetime:
    """Look at the time every six minutes. Returns when that ended."""
    end = start + timedelta(hours=hours)
    while start < end:
        start += timedelta(minutes=6)
        work(settings, start)
    return start


def subjects(relay: FakeRelay) -> list[str]:
    parsed = (email.message_from_bytes(mail.content, policy=email.policy.default) for mail in relay.mails)
    return [str(message["Subject"]) for message in parsed]


def open_problems() -> set[tuple[str, str, int]]:
    rows = Problem.objects.filter(closed_at__isnull=True)
    return {(row.cause, row.host, row.domains.filter(gone_at__isnull=True).count()) for row in rows}


def dials(server: FakeMailServer) -> int:
    return sum(command.startswith("EHLO") for command in server.commands) - sum(
        command == "STARTTLS" for command in server.commands
    )


def test_what_was_so_when_we_first_looked_is_shown_and_nobody_is_told(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    [domain] = add(dns, organisation, "one.test")
    watch(settings, NOON, 2)
    check = Check.objects.get()
    assert ["sts-absent", "warning", "_mta-sts.one.test"] in check.findings
    assert WatchFinding.objects.get(domain=domain).is_baseline
    assert open_problems() == set()
    assert relay.mails == []


def test_a_fault_opens_a_problem_once_it_was_seen_twice_people_are_told_once_and_it_closes_when_mended(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    add(dns, organisation, "one.test")
    now = watch(settings, NOON, 1)
    dns.set("one.test", "MX", f"10 {MX}.", "20 gone.example.net.")
    now = watch(settings, now, 1.3)
    assert open_problems() == {("mx-host-unresolvable", "gone.example.net", 1)}
    now = watch(settings, now, 0.3)
    assert len(relay.mails) == 1
    assert "gone.example.net" in subjects(relay)[0]
    text = relay.mails[0].content.decode()
    assert "Mailward saw it itself" in text
    dns.set("one.test", "MX", f"10 {MX}.")
    watch(settings, now, 1.4)
    assert open_problems() == set()
    assert len(relay.mails) == 1
    assert [row.changes for row in Check.objects.order_by("id")][1:] != [[], []]


def test_an_mx_fault_of_many_domains_is_one_problem_one_mail_and_few_connections(
    dns: FakeDns,
    settings: Settings,
    organisation: Organisation,
    relay: FakeRelay,
    server: FakeMailServer,
    authority: Authority,
) -> None:
    names = [f"d{number}.test" for number in range(5)]
    add(dns, organisation, *names)
    now = watch(settings, NOON, 2.5)
    assert dials(server) == 1, "one handshake a day, whoever asks"
    assert MxLook.objects.count() == 1
    server.replies["EHLO"] = b"250 mx.example.net\r\n"
    now = watch(settings, now + timedelta(hours=23), 1)
    assert ("starttls-not-supported", MX, 5) in open_problems()
    told = [subject for subject in subjects(relay) if "STARTTLS" in subject]
    assert told == ["Mailward: no STARTTLS offered on mx.example.net (5 domains)"]
    before = dials(server)
    now = watch(settings, now, 3)
    assert dials(server) - before <= 4, "hourly while a problem is open"
    server.replies["EHLO"] = b"250-mx.example.net\r\n250 STARTTLS\r\n"
    watch(settings, now, 2)
    assert not {each for each in open_problems() if each[0] == "starttls-not-supported"}
    assert len([subject for subject in subjects(relay) if "STARTTLS" in subject]) == 1
