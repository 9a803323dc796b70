"""How much an address gets from the platform, and deep looks: with real servers on loopback."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from asgiref.sync import async_to_sync
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.evidence import make_domains, make_organisation
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.relay import FakeRelay

from mailward.config import Dns, Settings, Watch
from mailward.core.watch.keeping import unpack_session
from mailward.net import clock
from mailward.store.models import (
    AskedCheck,
    AskedLook,
    Domain,
    MxLook,
    Organisation,
    OutboxItem,
    ProbeSlot,
    User,
)
from mailward.store.models import Watch as WatchRow
from mailward.store.services import mxlooks, watching
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
    return make_organisation()


@pytest.fixture
def user() -> User:
    return User.objects.create(email="alice@example.net")


def add(dns: FakeDns, organisation: Organisation, name: str, *, is_proved: bool = False) -> Domain:
    dns.set(name, "MX", f"10 {MX}.")
    [domain] = make_domains(organisation, [name])
    if is_proved:
        Domain.objects.filter(pk=domain.pk).update(claim_verified_at=NOON)
    return domain


def work(settings: Settings, hours: float = 0) -> None:
    with clock.frozen(NOON + timedelta(hours=hours)):
        async_to_sync(next(timed for timed in TIMED if timed.name == "watch").run)(settings)
        async_to_sync(run_once)(settings)


def dials(server: FakeMailServer) -> int:
    return sum(line.startswith("EHLO") for line in server.commands) - server.commands.count("STARTTLS")


def changed(settings: Settings, **watch: object) -> Settings:
    return msgspec.structs.replace(settings, watch=msgspec.structs.replace(settings.watch, **watch))


def test_a_proved_domain_is_looked_at_deeply_by_itself_and_the_ciphers_are_kept(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    add(dns, organisation, "one.test", is_proved=True)
    work(settings)
    session = unpack_session(bytes(MxLook.objects.get().session))
    assert session.depth is not None
    assert session.depth.ciphers is not None
    accepted = dict(session.depth.ciphers.accepted)
    assert "TLS_AES_256_GCM_SHA384" in accepted["TLSv1.3"]
    assert session.depth.ciphers.unfinished == ""
    spent = ProbeSlot.objects.get(key="deep 127.0.0.1").connections
    suites = sum(len(names) for names in accepted.values())
    assert 5 + suites < spent < 5 + suites + 12, "what was not needed is given back"
    before = server.commands.count("STARTTLS")
    work(settings, hours=30)
    assert server.commands.count("STARTTLS") == before + 1, "the next day a plain look, which keeps them"
    kept = unpack_session(bytes(MxLook.objects.order_by("-id")[0].session))
    assert kept.depth == session.depth


def test_a_domain_that_nobody_proved_is_never_looked_at_deeply(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer, user: User
) -> None:
    domain = add(dns, organisation, "one.test")
    work(settings)
    with clock.frozen(NOON + timedelta(hours=1)):
        assert not watching.ask_now(organisation.pk, domain.pk, user.pk, is_deep=True)
    assert server.commands.count("STARTTLS") == 1
    assert not AskedLook.objects.exists()


def test_a_deep_look_comes_when_a_person_asks_once_an_hour_and_it_is_written_down(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer, user: User
) -> None:
    domain = add(dns, organisation, "one.test", is_proved=True)
    settings = changed(settings, deep_days=0)
    work(settings)
    assert server.commands.count("STARTTLS") == 1, "switched off, but for people who ask"
    with clock.frozen(NOON + timedelta(minutes=5)):
        assert watching.ask_now(organisation.pk, domain.pk, user.pk, is_deep=True)
        async_to_sync(run_once)(settings)
    assert server.commands.count("STARTTLS") > 10
    before = server.commands.count("STARTTLS")
    with clock.frozen(NOON + timedelta(minutes=50)):
        assert not watching.ask_now(organisation.pk, domain.pk, user.pk, is_deep=True)
        assert watching.ask_now(organisation.pk, domain.pk, user.pk)
        async_to_sync(run_once)(settings)
    assert server.commands.count("STARTTLS") == before + 1
    assert list(AskedLook.objects.order_by("id").values_list("user", "is_deep")) == [
        (user.pk, True),
        (user.pk, False),
    ]


def test_where_deep_looks_had_their_connections_the_plain_look_is_made(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    add(dns, organisation, "one.test", is_proved=True)
    with clock.frozen(NOON):
        assert mxlooks.count_connections("deep 127.0.0.1", 200, settings.watch.deep_probes_per_hour)
    work(settings)
    assert server.commands.count("STARTTLS") == 1
    assert ProbeSlot.objects.get(key="deep 127.0.0.1").connections == 200


def test_many_host_names_at_one_address_share_its_bound_whoever_asks(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer, user: User
) -> None:
    """A stranger's domain may have as many MX names as they like for the address of somebody else."""
    for number in range(6):
        dns.set(f"mx{number}.example.net", "A", "127.0.0.1")
        dns.set(f"d{number}.test", "MX", f"10 mx{number}.example.net.")
    make_domains(organisation, [f"d{number}.test" for number in range(3)])
    settings = changed(settings, probes_per_hour=4)
    work(settings)
    with clock.frozen(NOON + timedelta(minutes=5)):
        asked = [
            watching.ask_about(organisation.pk, user.pk, f"d{number}.test", settings) for number in (3, 4, 5)
        ]
        async_to_sync(run_once)(settings)
    assert AskedCheck.objects.filter(pk__in=asked, facts__isnull=False).count() == 3
    assert dials(server) == 4


def test_an_address_of_policy_hosts_has_its_bound_and_what_was_seen_before_goes_on(
    dns: FakeDns, settings: Settings, organisation: Organisation
) -> None:
    dns.set("mta-sts.one.test", "A", "127.0.0.2")
    dns.set("_mta-sts.one.test", "TXT", "v=STSv1; id=1;")
    domain = add(dns, organisation, "one.test")
    settings = changed(settings, fetches_per_hour=3)
    work(settings)
    before = watching.current_facts(domain.pk)
    assert before is not None
    assert [fetch.error for fetch in before.policy_host.fetches] == ["connect"]
    with clock.frozen(NOON + timedelta(minutes=30)):
        WatchRow.objects.update(due_at=clock.now())
    work(settings, hours=0.5)
    after = watching.current_facts(domain.pk)
    assert after is not None
    assert after.policy_host.fetches == before.policy_host.fetches, "judged by what was seen"
    full = "not asked: it has had its 3 connections for this hour"
    assert ["mta-sts.one.test at 127.0.0.2", full] in WatchRow.objects.get().unobserved


def test_our_own_address_is_not_observed_and_no_fault(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    dns.set(MX, "A", "8.8.4.4")
    domain = add(dns, organisation, "one.test")
    guarded = msgspec.structs.replace(settings, dns=Dns(resolvers=(dns.address,), own_addresses=("8.8.4.4",)))
    work(guarded)
    [row] = WatchRow.objects.filter(domain=domain)
    assert [
        f"{MX} at 8.8.4.4",
        "8.8.4.4 is an address of our own, which is not connected to",
    ] in row.unobserved
    assert row.current is not None
    assert not [code for code, _, about in row.current.findings if about == MX]
    assert dials(server) == 0


def test_a_machine_without_a_way_out_leaves_the_looking_to_another_node(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    domain = add(dns, organisation, "one.test")
    work(changed(settings, from_here=False))
    assert dials(server) == 0
    assert OutboxItem.objects.get(kind="watch").key == str(domain.pk)
    work(settings)  # the other node
    assert dials(server) == 1
    assert WatchRow.objects.get().checked_at is not None
