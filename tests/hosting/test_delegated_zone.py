"""`mta-sts.<domain>` delegated to us by NS: a real NSD has the zones above, a real unbound resolves from there."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.rcode
import pytest
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask, ask_until, make_tree
from tests.worker.certificatebed import CERTIFICATE

from mailward.config import Dns, Settings
from mailward.config import Nameserver as NameserverSettings
from mailward.core.acme.settings import Acme
from mailward.core.names import Domain as DomainName
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.monitor.records import DomainFacts, RecordKey, RecordState, State, check_records
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, CertificateCare, Domain, Organisation, Role
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.domains import delete_domain, verify_claim
from mailward.worker import loop

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="port 53, and programs of a Debian tree, need root"),
    pytest.mark.django_db(transaction=True),
]

OURS = "127.53.0.1"  # NSD has .2: resolvers ask port 53; on loopback each has an address of its own
NAME = "mta-sts.customer.example"
ZONE = """\
$ORIGIN example.
@ 60 IN SOA ns h 1 900 300 86400 1
@ 60 IN NS ns
ns 60 IN A 127.53.0.2
sts 60 IN NS ns1.sts
ns1.sts 60 IN A 127.53.0.1
customer 60 IN NS ns
"""
CUSTOMER = """\
$ORIGIN customer.example.
@ 60 IN SOA ns.example. h 1 900 300 86400 1
@ 60 IN NS ns.example.
mta-sts 60 IN NS ns1.sts.example.
other 60 IN TXT "is here"
"""
NSD = """\
server:
  ip-address: 127.53.0.2
  username: ""
  zonesdir: "/own"
  pidfile: ""
  xfrdfile: "/own/xfrd"
  zonelistfile: "/own/list"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "example"
  zonefile: "example.zone"
zone:
  name: "customer.example"
  zonefile: "customer.zone"
"""
UNBOUND = """\
server:
  interface: 127.0.0.1@{port}
  do-not-query-localhost: no
  do-ip6: no
  username: ""
  chroot: ""
  directory: "/own"
  pidfile: ""
  use-syslog: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  infra-host-ttl: 0
  module-config: "iterator"
stub-zone:
  name: "example"
  stub-addr: 127.53.0.2
remote-control:
  control-enable: no
"""


@dataclass
class Bed:
    keeper: ZoneKeeper
    domain: Domain
    resolver_port: int
    own: NameserverSettings


@pytest.fixture
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture
def domain() -> Domain:
    organisation = Organisation.objects.create(name="One", report_token="0rganisation")
    return Domain.objects.create(
        organisation=organisation, name="customer.example", report_token="rep0rt", claim_token="c"
    )


@pytest.fixture
async def bed(tree: Tree, tmp_path: Path, domain: Domain) -> AsyncIterator[Bed]:
    own = NameserverSettings(
        zone="sts.example",
        servers=(f"ns1.sts.example={OURS}",),
        policy_addresses=("127.0.0.1", "2001:db8::80"),
    )
    settings = Settings(data=str(tmp_path), nameserver=own)
    server, secondaries = make_nameserver(settings)
    keeper = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    await keeper.refresh()
    await server.listen([OURS], 53)
    port = free_port()
    tree.write("example.zone", ZONE)
    tree.write("customer.zone", CUSTOMER)
    nsd, unbound = tree.write("nsd.conf", NSD), tree.write("unbound.conf", UNBOUND.format(port=port))
    try:
        async with tree.run("nsd", "-d", "-c", nsd), tree.run("unbound", "-d", "-c", unbound):
            await ask_until(port, "other.customer.example", "is here")
            yield Bed(keeper, domain, port, own)
    finally:
        keeper.close()
        await server.close()


async def look(bed: Bed) -> RecordState:
    facts = DomainFacts(
        DomainName(bed.domain.name), "c", "r@reports.test", None, "policies.sts.example",
        delegation="t0ken.sts.example", name_servers=("ns1.sts.example",),
        is_proved=bed.domain.claim_verified_at is not None,
    )  # fmt: skip
    resolver = Resolver(
        [f"127.0.0.1:{bed.resolver_port}"], guard=Guard(allow_private=True), timeout_seconds=2
    )
    states = await check_records(facts, resolver=resolver, guard=Guard(allow_private=True))
    return next(state for state in states if state.key is RecordKey.POLICY_HOST)


async def test_the_zone_is_answered_for_once_the_domain_is_proved_and_no_longer_than_it_is_there(
    bed: Bed,
) -> None:
    port = bed.resolver_port
    refused = await ask(port, NAME, "A")
    assert refused is None or refused.rcode() == dns.rcode.SERVFAIL
    state = await look(bed)
    assert (state.state, state.observed) == (State.WRONG, ("NS ns1.sts.example",))
    assert "once the domain is proved" in state.detail
    await in_store(verify_claim, bed.domain.pk)
    await in_store(bed.domain.refresh_from_db)
    await bed.keeper.refresh()
    for rdtype, text in (
        ("A", "127.0.0.1"),
        ("AAAA", "2001:db8::80"),
        ("NS", "ns1.sts.example."),
        ("SOA", ""),
    ):
        await ask_until(port, NAME, text, rdtype)
    absent = await ask(port, f"_acme-challenge.{NAME}", "TXT")
    assert absent is not None
    assert absent.rcode() == dns.rcode.NXDOMAIN
    assert (await look(bed)).state is State.RIGHT
    await in_store(delete_domain, Scope(bed.domain.organisation_id, 0, Role.OWNER), bed.domain.pk)
    await bed.keeper.refresh()
    response = await ask(port, NAME, "A")
    assert response is None or response.rcode() == dns.rcode.SERVFAIL


async def follow(keeper: ZoneKeeper) -> None:
    while True:
        await keeper.refresh()
        await asyncio.sleep(0.1)


async def test_a_certificate_comes_by_dns_alone(bed: Bed, tmp_path: Path) -> None:
    """Port 80 is closed: the zone that is delegated to us answers for `_acme-challenge` below it."""
    resolver = f"127.0.0.1:{bed.resolver_port}"
    await in_store(verify_claim, bed.domain.pk)
    following = asyncio.create_task(follow(bed.keeper))
    closed = free_port()
    try:
        with Pebble(tmp_path / "pebble", dns=resolver, http_port=closed) as pebble:
            settings = Settings(
                data=str(tmp_path),
                nameserver=bed.own,
                acme=Acme(directories=(pebble.directory,), http_port=closed, reach_port=closed),
                dns=Dns(resolvers=(resolver,), allow_private_addresses=True),
            )
            await ask_until(bed.resolver_port, NAME, "127.0.0.1", "A")
            await in_store(outbox.put, "certificate", str(bed.domain.pk))
            while await loop.work_once(settings, CERTIFICATE):
                pass
            care = await in_store(lambda: CertificateCare.objects.select_related("current").get())
            assert (care.state, care.detail) == ("good", "")
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert await in_store(lambda: AcmeOrder.objects.get().method) == "dns-01"
