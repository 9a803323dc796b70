"""A policy change from its commit to DNS, with the real policy host and nameserver."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import msgspec
import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.ports import free_port
from tests.fakes.silent import silent_port

from mailward.config import Dns, PolicyHost, Settings
from mailward.config import Nameserver as NameserverSettings
from mailward.config import Watch as WatchSettings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.watch.upkeep import ELSEWHERE, IN_FRONT
from mailward.hosting import announce
from mailward.hosting.fronts import NOT_ASKED, Fronts
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.hosting.policyweb import serve_policies
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net import clock
from mailward.net.httpserver import Server
from mailward.store.aio import in_store
from mailward.store.models import (
    Domain,
    Organisation,
    OutboxItem,
    PolicyVersion,
    RecordCheck,
    Role,
    VersionStep,
    Watch,
)
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.domains import delete_domain
from mailward.store.services.policies import announce_version, publish_policy
from mailward.worker import announcing, loop
from mailward.worker.handlers import HANDLERS
from mailward.worker.records import check_domain, facts_of

pytestmark = pytest.mark.django_db(transaction=True)

ANNOUNCE, FRONT, SEEN = (
    next(handler for handler in HANDLERS if handler.kind == kind) for kind in ("announce", "front", "seen")
)
Bed = tuple[Settings, ZoneKeeper, SnapshotKeeper, int]
POLICY = Policy(Mode.TESTING, 86_400, ("mx.example.test",))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts read the database here when they are told to, and not by themselves."""
    monkeypatch.setattr(announcing, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(announce, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(announcing, "_FRONTS", Fronts())


@pytest.fixture
def organisation() -> Organisation:
    return Organisation.objects.create(name="One", report_token="0rganisation")


@pytest.fixture
def domain(organisation: Organisation) -> Domain:
    return Domain.objects.create(
        organisation=organisation,
        name="example.test",
        report_token="rep0rt",
        claim_token="c",
        delegation_token="t0ken",
    )


@pytest.fixture
async def bed(
    tmp_path: Path, domain: Domain
) -> AsyncIterator[tuple[Settings, ZoneKeeper, SnapshotKeeper, int]]:
    """Policy host and nameserver on free ports, which read the database when they are told to."""
    nameserver = NameserverSettings(zone="sts.test", policy_addresses=("192.0.2.8",))
    settings = Settings(data=str(tmp_path), nameserver=nameserver)
    policies = SnapshotKeeper(tmp_path / "snapshot.json")
    web: Server = await serve_policies(settings, policies, port=0)
    settings = Settings(
        data=str(tmp_path),
        policy_host=PolicyHost(nodes=(f"127.0.0.1:{web.port}",)),
        nameserver=nameserver,
    )
    server, secondaries = make_nameserver(settings)
    zone = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    port = await server.listen(["127.0.0.1"], 0)
    await zone.refresh()
    yield settings, zone, policies, port
    zone.close()
    policies.close()
    await server.close()
    await web.close(grace_seconds=0)


def another(organisation: Organisation, name: str) -> Domain:
    label = name.partition(".")[0]
    return Domain.objects.create(
        organisation=organisation, name=name, report_token=label, claim_token=label, delegation_token=label
    )


async def ask(port: int, name: str) -> str:
    response = await dns.asyncquery.udp(dns.message.make_query(name, "TXT"), "127.0.0.1", 5, port)
    return str(response.answer[0][0]) if response.answer else dns.rcode.to_text(response.rcode())


async def test_p4_p12_an_id_is_told_once_its_policy_is_served(bed: Bed, domain: Domain) -> None:
    settings, zone, policies, port = bed
    name = "_mta-sts.t0ken.sts.test"
    assert await ask(port, "_tlsrpt.t0ken.sts.test") == '"v=TLSRPTv1; rua=mailto:rep0rt@reports.localhost"'
    version = await publish(domain, POLICY)
    assert await in_store(steps) == []
    # committed, but no policy host has it yet
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, name) == "NXDOMAIN"
    await policies.refresh()
    await in_store(lambda: outbox.hasten("announce"))
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, name) == f'"v=STSv1; id={version.policy_id};"'
    node = settings.policy_host.nodes[0]
    assert await in_store(steps) == [("announced", "", ""), ("served", node, "")]


async def test_p12_while_one_of_two_hosts_is_away_no_id_is_told(bed: Bed, domain: Domain) -> None:
    settings, zone, policies, port = bed
    gone = f"127.0.0.1:{free_port()}"
    nodes = (*settings.policy_host.nodes, gone)
    settings = msgspec.structs.replace(settings, policy_host=PolicyHost(nodes=nodes))
    await publish(domain, POLICY)
    await policies.refresh()
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, "_mta-sts.t0ken.sts.test") == "NXDOMAIN"
    [first, second] = sorted(await in_store(steps), key=lambda step: bool(step[2]))
    assert first == ("served", nodes[0], "")
    assert second[:2] == ("served", gone)
    assert second[2].startswith("no connection to mta-sts.example.test")


def looked_at(domain: Domain, state: str, detail: str, *, was_right: bool) -> None:
    RecordCheck.objects.create(
        organisation=domain.organisation,
        domain=domain,
        record="mta-sts",
        state=state,
        detail=detail,
        was_right=was_right,
        checked_at=clock.now(),
    )


@pytest.mark.parametrize(
    ("state", "detail", "was_right"),
    [
        ("right", IN_FRONT, True),
        ("wrong", f"{ELSEWHERE}; expected CNAME localhost", True),
        ("unknown", "DNS did not answer", True),
    ],
    ids=["as it was", "looked at while it serves the policy of before", "looked at while DNS was away"],
)
async def test_p12_while_a_cache_in_front_serves_the_policy_of_before_no_id_is_told(
    bed: Bed, domain: Domain, tmp_path: Path, state: str, detail: str, was_right: bool
) -> None:
    settings, zone, policies, port = bed
    cached = SnapshotKeeper(tmp_path / "cached.json")
    front = await serve_policies(settings, cached, port=0)
    await in_store(lambda: looked_at(domain, state, detail, was_right=was_right))
    async with FakeDns() as customers:
        customers.set("mta-sts.example.test", "A", "127.0.0.1")
        customers.set("mta-sts.example.test", "AAAA")
        customers.set("localhost", "A", "192.0.2.8")
        settings = msgspec.structs.replace(
            settings,
            watch=WatchSettings(https_port=front.port),
            dns=Dns(
                resolvers=(customers.address,),
                authoritative_override=(customers.address,),
                allow_private_addresses=True,
            ),
        )
        await publish(domain, POLICY)
        await cached.refresh()
        version = await publish(domain, replace(POLICY, max_age_seconds=604_800))
        await policies.refresh()
        await loop.work_once(settings, ANNOUNCE)
        await loop.work_once(settings, FRONT)
        await zone.refresh()
        assert await ask(port, "_mta-sts.t0ken.sts.test") == "NXDOMAIN"
        place = "mta-sts.example.test at 127.0.0.1"
        assert ("served", place, "it serves another policy") in await in_store(steps)
        await cached.refresh()
        # the one that was asked has it; another server at the same address may keep that of before for a minute
        now = clock.now()
        kept = "caches there, other than the one that was asked, may serve the policy of before for a minute"
        for later, told, why in (
            (0, "NXDOMAIN", kept),
            (61, f'"v=STSv1; id={version.policy_id};"', ""),
        ):
            with clock.frozen(now + timedelta(seconds=later)):
                await in_store(lambda: outbox.hasten("front"))
                await loop.work_once(settings, FRONT)
                assert ("served", place, why) in await in_store(steps)
                if why:  # it comes again when that is over
                    [item] = await in_store(lambda: list(OutboxItem.objects.filter(kind="front")))
                    assert timedelta(seconds=30) < item.available_at - now <= timedelta(seconds=60)
            await zone.refresh()
            assert await ask(port, "_mta-sts.t0ken.sts.test") == told
    cached.close()
    await front.close(grace_seconds=0)


@pytest.fixture
async def fronted(bed: Bed, domain: Domain) -> AsyncIterator[Settings]:
    """The domain has a server in front that nobody answers at; there is another domain, which has none."""
    settings, *_ = bed
    await in_store(lambda: looked_at(domain, "right", IN_FRONT, was_right=True))
    async with FakeDns() as customers:
        for name in ("example.test", "second.test"):
            customers.set(f"mta-sts.{name}", "A", "127.0.0.9")
            customers.set(f"mta-sts.{name}", "AAAA")
        with silent_port("127.0.0.9") as port:
            dns = Dns(
                resolvers=(customers.address,),
                authoritative_override=(customers.address,),
                allow_private_addresses=True,
            )
            yield msgspec.structs.replace(settings, watch=WatchSettings(https_port=port), dns=dns)


async def test_p12_who_has_no_server_in_front_waits_for_nobodys(
    bed: Bed, fronted: Settings, domain: Domain, organisation: Organisation
) -> None:
    _, zone, policies, port = bed
    other = await in_store(lambda: another(organisation, "own.test"))
    await publish(domain, POLICY)
    version = await publish(other, POLICY)
    await policies.refresh()
    async with asyncio.timeout(4):
        assert await loop.work_once(fronted, ANNOUNCE) == 2
    await zone.refresh()
    assert await ask(port, "_mta-sts.t0ken.sts.test") == "NXDOMAIN"
    assert await ask(port, "_mta-sts.own.sts.test") == f'"v=STSv1; id={version.policy_id};"'


async def test_p12_domains_behind_a_server_that_does_not_answer_do_not_each_wait_for_it(
    bed: Bed, fronted: Settings, domain: Domain, organisation: Organisation
) -> None:
    _, zone, policies, port = bed
    second = await in_store(lambda: another(organisation, "second.test"))
    await in_store(lambda: looked_at(second, "right", IN_FRONT, was_right=True))
    for each in (domain, second):
        await publish(each, POLICY)
        await policies.refresh()
        await loop.work_once(fronted, ANNOUNCE)
        await in_store(lambda: outbox.hasten("front"))
        begun = clock.monotonic()
        await loop.work_once(fronted, FRONT)
        taken = clock.monotonic() - begun
    assert taken < 2
    await zone.refresh()
    for token in ("t0ken", "second"):
        assert await ask(port, f"_mta-sts.{token}.sts.test") == "NXDOMAIN"
    found = {place: why for kind, place, why in await in_store(steps) if "127.0.0.9" in place}
    assert found["mta-sts.example.test at 127.0.0.9"].endswith("did not connect within 0.5 seconds")
    assert found["mta-sts.second.test at 127.0.0.9"] == NOT_ASKED
    # our own host was seen to serve both, and stays so
    own = ("served", fronted.policy_host.nodes[0], "")
    assert (await in_store(steps)).count(own) == 2


async def test_p12_what_is_in_front_serves_it_and_a_host_no_longer_does(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """Much may happen while the other server is waited for."""
    settings, zone, policies, port = bed
    await in_store(lambda: looked_at(domain, "unknown", "DNS did not answer", was_right=True))
    async with FakeDns() as customers:
        for name in ("mta-sts.example.test", "localhost"):
            customers.set(name, "A", "192.0.2.8")
        settings = msgspec.structs.replace(settings, dns=Dns(resolvers=(customers.address,)))
        await publish(domain, POLICY)
        await policies.refresh()
        await loop.work_once(settings, ANNOUNCE)
        nodes = (*settings.policy_host.nodes, f"127.0.0.1:{free_port()}")
        settings = msgspec.structs.replace(settings, policy_host=PolicyHost(nodes=nodes))
        await loop.work_once(settings, FRONT)
    await zone.refresh()
    assert await ask(port, "_mta-sts.t0ken.sts.test") == "NXDOMAIN"


async def test_p12_the_id_of_a_policy_that_was_taken_over_waits_for_no_cache(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """Our hosts served nothing before it, and the other provider serves the same."""
    settings, zone, policies, port = bed
    other = SnapshotKeeper(tmp_path / "other.json")
    front = await serve_policies(settings, other, port=0)
    await in_store(lambda: looked_at(domain, "right", IN_FRONT, was_right=True))
    async with FakeDns() as customers:
        customers.set("mta-sts.example.test", "A", "127.0.0.1")
        customers.set("mta-sts.example.test", "AAAA")
        customers.set("localhost", "A", "192.0.2.8")
        dns = Dns(
            resolvers=(customers.address,),
            authoritative_override=(customers.address,),
            allow_private_addresses=True,
        )
        settings = msgspec.structs.replace(settings, watch=WatchSettings(https_port=front.port), dns=dns)
        version = await publish(domain, POLICY)
        await policies.refresh()
        await other.refresh()
        await loop.work_once(settings, ANNOUNCE)
        await loop.work_once(settings, FRONT)
        assert ("served", "mta-sts.example.test at 127.0.0.1", "") in await in_store(steps)
        await zone.refresh()
        assert await ask(port, "_mta-sts.t0ken.sts.test") == f'"v=STSv1; id={version.policy_id};"'
    other.close()
    await front.close(grace_seconds=0)


async def test_p12_a_name_that_never_led_to_us_holds_nothing_up(bed: Bed, domain: Domain) -> None:
    """As while it is set up: senders find no policy there, and keep none."""
    settings, zone, policies, port = bed
    await in_store(lambda: looked_at(domain, "wrong", f"{ELSEWHERE}; expected CNAME x", was_right=False))
    version = await publish(domain, POLICY)
    await policies.refresh()
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, "_mta-sts.t0ken.sts.test") == f'"v=STSv1; id={version.policy_id};"'


async def test_p12_a_name_that_leads_to_us_waits_for_no_dns(bed: Bed, domain: Domain) -> None:
    settings, zone, policies, port = bed
    await in_store(lambda: looked_at(domain, "unknown", "DNS did not answer", was_right=True))
    async with FakeDns() as customers:
        customers.set("mta-sts.example.test", "A", "192.0.2.8")
        customers.set("localhost", "A", "192.0.2.8")
        settings = msgspec.structs.replace(settings, dns=Dns(resolvers=(customers.address,)))
        for number, fault in enumerate((None, Fault.SERVFAIL)):
            if fault:
                customers.fail(fault, "mta-sts.example.test", "A")
            version = await publish(domain, replace(POLICY, max_age_seconds=86_400 + number))
            await policies.refresh()
            await loop.work_once(settings, ANNOUNCE)
            await loop.work_once(settings, FRONT)
            await zone.refresh()
            assert await ask(port, "_mta-sts.t0ken.sts.test") == f'"v=STSv1; id={version.policy_id};"'


async def test_p12_a_change_during_a_change_takes_its_place(bed: Bed, domain: Domain) -> None:
    settings, zone, policies, port = bed
    first = await publish(domain, POLICY)
    await policies.refresh()
    second = await publish(domain, replace(POLICY, max_age_seconds=604_800))
    # the host serves the first one still, which is not the one to announce
    await loop.work_once(settings, ANNOUNCE)
    assert not await in_store(lambda: announce_version(domain.pk, first.pk))
    await policies.refresh()
    await in_store(lambda: outbox.hasten("announce"))
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, "_mta-sts.t0ken.sts.test") == f'"v=STSv1; id={second.policy_id};"'


async def test_p12_without_a_nameserver_the_id_is_shown_once_it_may_be_and_looked_for(
    bed: Bed, domain: Domain
) -> None:
    settings, _, policies, _ = bed
    customers = FakeDns()
    customers.set("_mta-sts.example.test", "TXT", "v=STSv1; id=before;")
    async with customers:
        settings = msgspec.structs.replace(
            settings,
            nameserver=NameserverSettings(),
            dns=Dns(resolvers=(customers.address,), authoritative_override=(customers.address,)),
        )
        version = await publish(domain, POLICY)
        assert (await in_store(facts_of, settings, domain.pk)).policy_id is None  # type: ignore[union-attr]
        await policies.refresh()
        await loop.work_once(settings, ANNOUNCE)
        facts = await in_store(facts_of, settings, domain.pk)
        assert facts is not None
        assert facts.policy_id == version.policy_id
        await loop.work_once(settings, SEEN)
        assert ("seen", customers.address, "it tells the id before") in await in_store(steps)
        customers.set("_mta-sts.example.test", "TXT", f"v=STSv1; id={version.policy_id};")
        # it waits for its next attempt; a person presses "Check now"
        await loop.work_once(settings, SEEN)
        assert ("seen", customers.address, "") not in await in_store(steps)
        await check_domain(settings, domain.pk)
        looks = OutboxItem.objects.filter(kind="watch", key=str(domain.pk))
        await Watch.objects.acreate(
            domain=domain, organisation=domain.organisation, due_at=clock.now(), checked_at=clock.now()
        )
        await in_store(looks.delete)
        await loop.work_once(settings, SEEN)
        assert ("seen", customers.address, "") in await in_store(steps)
        assert not await in_store(lambda: OutboxItem.objects.filter(kind="seen").exists())
        # what was seen from outside before is out of date now
        assert await looks.acount() == 1


def steps() -> list[tuple[str, str, str]]:
    return list(VersionStep.objects.order_by("kind", "place").values_list("kind", "place", "detail"))


async def publish(domain: Domain, policy: Policy) -> PolicyVersion:
    return await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, policy, author_id=None))


async def test_what_is_known_is_answered_without_a_database(bed: Bed, tmp_path: Path) -> None:
    settings, zone, _, _ = bed
    server, secondaries = make_nameserver(settings)
    again = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    assert again.current == zone.current
    port = await server.listen(["127.0.0.1"], 0)
    assert (await ask(port, "_tlsrpt.t0ken.sts.test")).startswith('"v=TLSRPTv1')
    again.close()
    await server.close()


async def test_a_removed_domain_is_answered_no_longer(bed: Bed, domain: Domain) -> None:
    _, zone, _, port = bed
    serial = zone.current.generation
    await in_store(lambda: delete_domain(Scope(domain.organisation_id, 0, Role.OWNER), domain.pk))
    await zone.refresh()
    assert await ask(port, "_tlsrpt.t0ken.sts.test") == "NXDOMAIN"
    assert zone.current.generation > serial
    await asyncio.sleep(0)
