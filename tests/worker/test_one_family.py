"""What waits for every server of a zone, on a machine with IPv4 alone: whom it can never ask holds nothing up."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.onefamily import NEEDS_ROOT, without_ways
from tests.worker import test_following, test_leaving

from mailward.config import Dns, Settings, Watch
from mailward.core.mtasts.follow import Follow
from mailward.core.mtasts.policy import Mode, Policy, serialise_policy
from mailward.core.names import Domain as DomainName
from mailward.hosting.announce import look_in_front
from mailward.hosting.fronts import Fronts
from mailward.hosting.policyweb import serve_policies
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, save_snapshot
from mailward.monitor.elsewhere import why_not_same
from mailward.net import clock
from mailward.net.guard import Guard
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.models import Domain, Leaving, MxChange, Notice, PolicyVersion, VersionStep
from mailward.store.services.policies import announce_version
from mailward.worker.announcing import see_domain
from mailward.worker.certificates import Carer
from mailward.worker.leaving import leave_domain

pytestmark = [pytest.mark.django_db(transaction=True), NEEDS_ROOT]
BOTH = ("mx1.example.test", "mx2.example.test")
AWAY = "2001:db8::1"


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    server = FakeDns()
    server.port = 53  # where the worker asks the servers of a zone: nobody else is in this network
    server.delegate("test", "both.example.test.")
    server.delegate("example.test", "both.example.test.", "far.example.test.")
    server.set("both.example.test", "A", "127.0.0.1")
    server.set("both.example.test", "AAAA", AWAY)
    server.set("example.test", "MX", *(f"10 {host}." for host in BOTH))
    with without_ways():
        async with server:
            yield server


@pytest.fixture(params=["both", "far"])
def settings(request: pytest.FixtureRequest, dns: FakeDns) -> Settings:
    """`far`: one of the servers has IPv6 alone."""
    if request.param == "far":
        dns.set("far.example.test", "AAAA", "2001:db8::2")
    return Settings(dns=Dns(resolvers=(dns.address,), allow_private_addresses=True))


async def test_a_change_is_agreed_on_and_the_letter_says_who_was_not_asked(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    await in_store(test_following.start, domain, Follow.ALL, *BOTH)
    await test_following.work(settings)
    assert await in_store(test_following.states) == [("appeared", "mx2.example.test", "waiting")]
    letter = " ".join((await in_store(Notice.objects.get)).lines)
    all_say = "The server of its zone says so;"
    one_says = "that can be reached from here (not asked: [2001:db8::2]:53);"
    assert (one_says if dns.texts("far.example.test", "AAAA") else all_say) in letter


async def test_a_change_waits_where_no_server_can_be_asked_or_one_is_silent(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    dns.fail(Fault.SERVFAIL, "both.example.test", "A")  # the resolver has lost it
    await in_store(test_following.start, domain, Follow.ALL, *BOTH)
    await test_following.work(settings)
    [held] = await in_store(lambda: list(MxChange.objects.values_list("state", "detail")))
    assert held[0] == "noticed"
    assert "both.example.test does not answer" in held[1]
    dns.heal()
    dns.set("both.example.test", "A")
    await test_following.work(settings)
    [held] = await in_store(lambda: list(MxChange.objects.values_list("state", "detail")))
    assert held[0] == "noticed"
    assert "no way out over IPv6" in held[1]


async def test_an_id_is_seen_everywhere(settings: Settings, domain: Domain, dns: FakeDns) -> None:
    version: PolicyVersion = await in_store(test_leaving.publish, domain, 7)
    await in_store(announce_version, domain.pk, version.pk)
    dns.set("_mta-sts.example.test", "TXT", f"v=STSv1; id={version.policy_id};")
    assert await see_domain(settings, domain.pk) == ""
    seen = await in_store(
        lambda: list(VersionStep.objects.filter(kind="seen").values_list("place", flat=True))
    )
    assert seen == ["127.0.0.1:53"]


async def test_a_server_in_front_is_asked_where_there_is_a_way(
    settings: Settings, domain: Domain, dns: FakeDns, tmp_path: Path
) -> None:
    name, host = DomainName(domain.name), f"mta-sts.{domain.name}"
    text = serialise_policy(Policy(Mode.TESTING, 86_400, BOTH))
    save_snapshot(Snapshot(1, {host: text.encode()}), tmp_path / "snapshot.json")
    front = await serve_policies(
        Settings(data=str(tmp_path)), SnapshotKeeper(tmp_path / "snapshot.json"), port=0
    )
    settings = Settings(data=str(tmp_path), dns=settings.dns, watch=Watch(https_port=front.port))
    dns.set(host, "A", "127.0.0.1")
    dns.set(host, "AAAA", AWAY)
    assert await look_in_front(settings, name, text, Fronts()) == {f"{host} at 127.0.0.1": ""}
    guard, ca_file = Guard(allow_private=True), tmp_path / "ca" / "ca.pem"
    asked = make_resolver(settings.dns)
    assert await why_not_same(name, host, text, asked, guard, ca_file=ca_file, port=front.port) == ""
    # where there is a way to none, nothing is known
    dns.set(host, "A")
    [(place, why)] = (await look_in_front(settings, name, text, Fronts())).items()
    assert place == f"{host} at {AWAY}"
    assert why.startswith("no connection")
    await front.close(grace_seconds=0)


async def test_a_plan_to_leave_ends(settings: Settings, domain: Domain) -> None:
    await in_store(test_leaving.start, domain, 7)
    row = await test_leaving.work(settings)
    await in_store(announce_version, domain.pk, row.version_id)
    now = clock.now()
    for days in (0, 8, 9):
        with clock.frozen(now + timedelta(days=days)):
            await leave_domain(settings, domain.pk)
    row = await in_store(Leaving.objects.get)
    assert (row.detail, row.outcome) == ("", "done")


async def test_a_challenge_is_shown_everywhere(settings: Settings, tmp_path: Path, dns: FakeDns) -> None:
    name = "_acme-challenge.mta-sts.example.test"
    dns.set(name, "TXT", "proof")
    carer = Carer(Settings(data=str(tmp_path), dns=settings.dns))
    showing = await carer._shown(name, "proof")
    assert (showing.missing, showing.silent) == ("", "")
    dns.set("both.example.test", "A")
    assert "can be asked" in (await carer._shown(name, "proof")).missing
