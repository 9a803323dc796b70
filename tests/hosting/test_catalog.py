"""The real Knot, BIND and NSD learn from our catalog which customers' zones there are (RFC 9432)."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
import pytest
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask, ask_until, make_tree
from tests.hosting.test_authdns import KEY_TEXT

from mailward.config import Nameserver as NameserverSettings
from mailward.config import Settings
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.store.aio import in_store
from mailward.store.models import Domain, Organisation, Role
from mailward.store.scope import Scope
from mailward.store.services.domains import delete_domain, verify_claim

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
    pytest.mark.django_db(transaction=True),
]
KEY, ALGORITHM, SECRET = KEY_TEXT.split(":")
CATALOG = "catalog.sts.example"
KNOT = f"""\
server:
  listen: 127.0.0.1@{{port}}
  rundir: /own/secondary
database:
  storage: /own/secondary
key:
  - id: {KEY}
    algorithm: {ALGORITHM}
    secret: {SECRET}
remote:
  - id: mailward
    address: 127.0.0.1@{{primary}}
    key: {KEY}
acl:
  - id: notify-of-mailward
    key: {KEY}
    action: notify
template:
  - id: default
    storage: /own/secondary
  - id: customers
    storage: /own/secondary
    master: mailward
    acl: notify-of-mailward
zone:
  - domain: {CATALOG}
    master: mailward
    acl: notify-of-mailward
    catalog-role: interpret
    catalog-template: customers
"""
BIND = f"""\
key "{KEY}" {{{{ algorithm {ALGORITHM}; secret "{SECRET}"; }}}};
options {{{{
  directory "/own/secondary"; listen-on port {{port}} {{{{ 127.0.0.1; }}}}; listen-on-v6 {{{{ none; }}}};
  pid-file none; session-keyfile none; recursion no;
  catalog-zones {{{{
    zone "{CATALOG}" default-primaries port {{primary}} {{{{ 127.0.0.1 key "{KEY}"; }}}} min-update-interval 1;
  }}}};
}}}};
controls {{{{ }}}};
zone "{CATALOG}" {{{{
  type secondary; file "catalog.zone";
  primaries port {{primary}} {{{{ 127.0.0.1 key "{KEY}"; }}}};
}}}};
"""
NSD = f"""\
server:
  ip-address: 127.0.0.1
  port: {{port}}
  username: ""
  zonesdir: "/own/secondary"
  pidfile: ""
  xfrdfile: "/own/secondary/xfrd"
  zonelistfile: "/own/secondary/list"
  xfrdir: "/own/secondary"
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "{KEY}"
  algorithm: {ALGORITHM}
  secret: "{SECRET}"
pattern:
  name: "customers"
  allow-notify: 127.0.0.1 {KEY}
  request-xfr: AXFR 127.0.0.1@{{primary}} {KEY}
zone:
  name: "{CATALOG}"
  catalog: consumer
  catalog-member-pattern: "customers"
  allow-notify: 127.0.0.1 {KEY}
  request-xfr: AXFR 127.0.0.1@{{primary}} {KEY}
"""
SERVERS = {
    "knot": (KNOT, ("knotd", "-c", "/own/server.conf")),
    "bind": (BIND, ("named", "-g", "-n", "1", "-c", "/own/server.conf")),
    "nsd": (NSD, ("nsd", "-d", "-c", "/own/server.conf")),
}


@dataclass
class Bed:
    keeper: ZoneKeeper
    port: int
    secondary: int


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    secondary = free_port()
    own = NameserverSettings(
        zone="sts.example",
        policy_addresses=("192.0.2.80",),
        transfer_keys=(KEY_TEXT,),
        secondaries=(f"127.0.0.1:{secondary}",),
        catalog=True,
    )
    settings = Settings(data=str(tmp_path), nameserver=own)
    server, secondaries = make_nameserver(settings)
    keeper = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    await keeper.refresh()
    port = await server.listen(["127.0.0.1"], 0)
    yield Bed(keeper, port, secondary)
    keeper.close()
    secondaries.close()
    await server.close()


def add(name: str) -> Domain:
    organisation, _ = Organisation.objects.get_or_create(
        name="One", defaults={"report_token": "0rganisation"}
    )
    domain = Domain.objects.create(
        organisation=organisation, name=name, report_token=f"r-{name}", claim_token="c"
    )
    assert verify_claim(domain.pk)
    return domain


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_secondary_takes_up_and_drops_customers_zones_by_itself(
    bed: Bed, tree: Tree, kind: str
) -> None:
    config, command = SERVERS[kind]
    (tree.root / "own/secondary").mkdir(exist_ok=True)
    for left in (tree.root / "own/secondary").iterdir():
        if left.is_file():
            left.unlink()
    tree.write("server.conf", config.format(port=bed.secondary, primary=bed.port))
    first = await in_store(add, "one.example")
    await bed.keeper.refresh()
    async with tree.run(*command):
        await ask_until(bed.secondary, "mta-sts.one.example", "192.0.2.80", "A")
        await in_store(add, "two.example")
        await bed.keeper.refresh()
        # the refresh of the SOA is a quarter of an hour: only NOTIFY makes it so soon
        await ask_until(bed.secondary, "mta-sts.two.example", "192.0.2.80", "A")
        await in_store(delete_domain, Scope(first.organisation_id, 0, Role.OWNER), first.pk)
        await bed.keeper.refresh()
        # NSD keeps the zone for a moment after it dropped what is in it
        gone = None
        while gone is None or gone.rcode() != dns.rcode.REFUSED:
            gone = await ask(bed.secondary, "mta-sts.one.example", "A")
        await ask_until(bed.secondary, "mta-sts.two.example", "192.0.2.80", "A")


async def test_only_holders_of_the_key_see_the_catalog(bed: Bed) -> None:
    domain = await in_store(add, "one.example")
    await bed.keeper.refresh()
    question = dns.message.make_query(CATALOG, "SOA")
    unsigned = await dns.asyncquery.tcp(question, "127.0.0.1", 5, bed.port)
    assert unsigned.rcode() == dns.rcode.NXDOMAIN
    refused = await dns.asyncquery.tcp(dns.message.make_query(CATALOG, "AXFR"), "127.0.0.1", 5, bed.port)
    assert refused.rcode() == dns.rcode.REFUSED
    zone = dns.zone.Zone(CATALOG, relativize=True)
    query, _ = dns.xfr.make_query(zone, keyring=dns.tsig.Key(KEY, SECRET, f"{ALGORITHM}."))
    await dns.asyncquery.inbound_xfr("127.0.0.1", zone, query, port=bed.port, timeout=5)
    # RFC 9432 section 4: NS, the version, and a PTR for each member below a label of its own
    found = {
        (dns.rdatatype.to_text(rdataset.rdtype), str(rdata), len(name))
        for name, rdataset in zone.iterate_rdatasets()
        for rdata in rdataset
        if rdataset.rdtype != dns.rdatatype.SOA
    }
    assert found == {("NS", "invalid.", 0), ("TXT", '"2"', 1), ("PTR", "mta-sts.one.example.", 2)}
    assert domain.delegation_token not in zone.to_text()
