"""A policy change from its commit to DNS, with the real policy host and nameserver."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from mailward.config import Nameserver as NameserverSettings
from mailward.config import PolicyHost, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.hosting.policyweb import serve_policies
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net.httpserver import Server
from mailward.store.aio import in_store
from mailward.store.models import Domain, Organisation, Role
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.domains import delete_domain
from mailward.store.services.policies import publish_policy
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS

pytestmark = pytest.mark.django_db(transaction=True)

ANNOUNCE = next(handler for handler in HANDLERS if handler.kind == "announce")
POLICY = Policy(Mode.TESTING, 86_400, ("mx.example.test",))


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


async def ask(port: int, name: str) -> str:
    response = await dns.asyncquery.udp(dns.message.make_query(name, "TXT"), "127.0.0.1", 5, port)
    return str(response.answer[0][0]) if response.answer else dns.rcode.to_text(response.rcode())


async def test_p4_an_id_is_told_once_its_policy_is_served(
    bed: tuple[Settings, ZoneKeeper, SnapshotKeeper, int], domain: Domain
) -> None:
    settings, zone, policies, port = bed
    name = "_mta-sts.t0ken.sts.test"
    assert await ask(port, "_tlsrpt.t0ken.sts.test") == '"v=TLSRPTv1; rua=mailto:rep0rt@reports.localhost"'
    version = await in_store(
        lambda: publish_policy(domain.organisation_id, domain.pk, POLICY, author_id=None)
    )
    # committed, but no policy host has it yet
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, name) == "NXDOMAIN"
    await policies.refresh()
    await in_store(lambda: outbox.hasten("announce"))
    await loop.work_once(settings, ANNOUNCE)
    await zone.refresh()
    assert await ask(port, name) == f'"v=STSv1; id={version.policy_id};"'


async def test_what_is_known_is_answered_without_a_database(
    bed: tuple[Settings, ZoneKeeper, SnapshotKeeper, int], tmp_path: Path
) -> None:
    settings, zone, _, _ = bed
    server, secondaries = make_nameserver(settings)
    again = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    assert again.current == zone.current
    port = await server.listen(["127.0.0.1"], 0)
    assert (await ask(port, "_tlsrpt.t0ken.sts.test")).startswith('"v=TLSRPTv1')
    again.close()
    await server.close()


async def test_a_removed_domain_is_answered_no_longer(
    bed: tuple[Settings, ZoneKeeper, SnapshotKeeper, int], domain: Domain
) -> None:
    _, zone, _, port = bed
    serial = zone.current.generation
    await in_store(lambda: delete_domain(Scope(domain.organisation_id, 0, Role.OWNER), domain.pk))
    await zone.refresh()
    assert await ask(port, "_tlsrpt.t0ken.sts.test") == "NXDOMAIN"
    assert zone.current.generation > serial
    await asyncio.sleep(0)
