"""What is learnt before a policy is changed: a DNS server and a mail server on loopback, no look before."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from asgiref.sync import async_to_sync
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.mailserver import FakeMailServer

from mailward.config import Dns, Settings, Watch
from mailward.core.mtasts.change import ChangeFacts, refuse
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.net import clock
from mailward.store.models import Domain, MxLook, MxTarget
from mailward.worker.changing import learn_facts, look_at_planned
from mailward.worker.watch import watcher_for

MX = "mx.example.net"
ENFORCE = Policy(Mode.ENFORCE, 604_800, (MX,))
TESTED = Policy(Mode.TESTING, 604_800, (MX,))

pytestmark = pytest.mark.django_db


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set(MX, "A", "127.0.0.1")
    server.set("example.test", "MX", f"10 {MX}.")
    with server.threaded():
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def settings(dns: FakeDns, authority: Authority, server: FakeMailServer) -> Settings:
    return Settings(
        dns=Dns(
            resolvers=(dns.address,), authoritative_override=(dns.address,), allow_private_addresses=True
        ),
        watch=Watch(smtp_port=server.port, ca_file=str(authority.file), https_port=1, probes_per_hour=100),
    )


def learn(settings: Settings, domain: Domain) -> ChangeFacts:
    facts = async_to_sync(learn_facts)(settings, domain.pk, ENFORCE)
    return ChangeFacts(facts.mx, facts.why_unknown, facts.rejected, TESTED)


def test_a_host_that_was_never_looked_at_is_looked_at_now(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    server = FakeMailServer(authority.issue(MX))
    with server.running():
        facts = learn(settings(dns, authority, server), domain)
    assert (facts.mx, dict(facts.rejected)) == ((MX,), {})
    assert refuse(ENFORCE, facts) == ()


def test_a_certificate_for_another_name_is_refused_with_its_reason(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    server = FakeMailServer(authority.issue("other.example.net"))
    with server.running():
        [refusal] = refuse(ENFORCE, learn(settings(dns, authority, server), domain))
    assert (refusal.code, refusal.about) == ("mx-certificate", MX)
    assert refusal.reason == f"Strict senders would refuse {MX}: Certificate for another name."


def test_what_was_seen_lately_is_believed_and_nobody_is_asked_again(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    server = FakeMailServer(authority.issue("other.example.net"))
    with server.running():
        known = settings(dns, authority, server)
        async_to_sync(watcher_for(known).watch)(domain.pk)
        before = MxLook.objects.get().last_at
        with clock.frozen(clock.now() + timedelta(hours=2)):
            facts = learn(known, domain)
    assert list(facts.rejected) == [MX]
    assert MxLook.objects.get().last_at == before


def test_an_mx_record_that_is_not_answered_is_not_learnt(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    dns.fail(Fault.SERVFAIL, "example.test", "MX")
    server = FakeMailServer(authority.issue(MX))
    with server.running():
        facts = learn(settings(dns, authority, server), domain)
    assert facts.mx is None
    assert [refusal.code for refusal in refuse(ENFORCE, facts)] == ["mx-unknown"]


def test_an_mx_host_beyond_those_that_are_looked_at_is_weighed_too(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    hosts = [f"mx{number:02}.example.net" for number in range(25)]
    dns.set("example.test", "MX", *(f"{number} {host}." for number, host in enumerate(hosts)))
    server = FakeMailServer(authority.issue(MX))
    with server.running():
        facts = learn(settings(dns, authority, server), domain)
    assert facts.mx == tuple(hosts)
    most = Policy(Mode.ENFORCE, 604_800, tuple(hosts[:20]))
    assert [each.about for each in refuse(most, facts) if each.code == "mx-not-covered"] == hosts[20:]


def test_a_machine_without_a_way_out_asks_no_mx_host(
    domain: Domain, dns: FakeDns, authority: Authority
) -> None:
    server = FakeMailServer(authority.issue("other.example.net"))
    with server.running():
        usual = settings(dns, authority, server)
        here = msgspec.structs.replace(usual, watch=msgspec.structs.replace(usual.watch, from_here=False))
        facts = learn(here, domain)
    assert (facts.mx, dict(facts.rejected)) == ((MX,), {})
    assert not MxTarget.objects.exists()


def planned(settings: Settings, host: str) -> str:
    policy = Policy(Mode.ENFORCE, 604_800, (MX, host))
    return async_to_sync(look_at_planned)(settings, Name("example.test"), Name(host), policy)


@pytest.mark.parametrize(
    ("names", "said"), [(("new.example.net",), ""), (("other.example.net",), "Certificate for another name")]
)
def test_a_planned_host_that_is_there_is_looked_at_before_the_dns_names_it(
    domain: Domain, dns: FakeDns, authority: Authority, names: tuple[str, ...], said: str
) -> None:
    dns.set("new.example.net", "A", "127.0.0.1")
    server = FakeMailServer(authority.issue(*names))
    with server.running():
        assert planned(settings(dns, authority, server), "new.example.net") == said


@pytest.mark.parametrize("from_here", [True, False])
def test_a_planned_host_that_is_not_there_yet_has_no_fault(
    domain: Domain, dns: FakeDns, authority: Authority, from_here: bool
) -> None:
    ours = settings(dns, authority, FakeMailServer())
    ours = msgspec.structs.replace(
        ours, watch=msgspec.structs.replace(ours.watch, smtp_port=1, from_here=from_here)
    )
    assert planned(ours, "new.example.net") == ""
