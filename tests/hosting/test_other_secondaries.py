"""The real Knot, BIND and PowerDNS take our zone by AXFR, signed, and follow it by NOTIFY; Knot also signs it."""

import asyncio
import base64
import os
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.rcode
import dns.xfr
import dns.zone
import msgspec
import pytest
from tests.behind.recipes import FOLDER, read_recipe
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask, ask_until, make_tree
from tests.hosting.test_authdns import KEY_TEXT, KEYS
from tests.hosting.test_secondaries import APEX, authority

from mailward.config import Nameserver as NameserverSettings
from mailward.config import Settings
from mailward.core.dns.nameserver import Secondary
from mailward.core.dns.ratelimit import RateLimiter
from mailward.hosting.authdns import Nameserver, TransferAccess
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver, pass_secondaries
from mailward.hosting.secondaries import Secondaries
from mailward.store.aio import in_store
from mailward.store.models import HostingGeneration
from mailward.store.services.hosting import raise_serial

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only")

NAME = "_mta-sts.abc.sts.example"
KEY, ALGORITHM, SECRET = KEY_TEXT.split(":")
KNOT = f"""\
server:
  listen: 127.0.0.1@{{port}}
  rundir: /own/knot
database:
  storage: /own/knot
log:
  - target: stderr
    any: info
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
zone:
  - domain: sts.example
    storage: /own/knot
    master: mailward
    acl: notify-of-mailward
"""
SIGNER = """\
server:
  rundir: /own/knot
database:
  storage: /own/knot
template:
  - id: default
    storage: /own/knot
log:
  - target: stderr
    any: info
"""
BIND = """\
options {{
  directory "/own/bind";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion no;
  # what BIND before 9.20 does where nothing is said
  allow-transfer {{ any; }};
}};
controls {{ }};
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
  module-config: "validator iterator"
  trust-anchor: "{ds}"
stub-zone:
  name: "sts.example"
  stub-addr: 127.0.0.1@{server}
remote-control:
  control-enable: no
"""


@pytest.fixture
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        for folder in ("knot", "bind"):
            (tree.root / "own" / folder).mkdir()
        yield tree


@pytest.fixture
async def primary() -> AsyncIterator[tuple[Nameserver, int]]:
    server = Nameserver(RateLimiter(per_topic=0, per_address=0), TransferAccess(KEYS))
    server.authority = authority(1, "one")
    yield server, await server.listen(["127.0.0.1"], 0)
    await server.close()


def knot(tree: Tree, port: int, primary: int) -> AbstractAsyncContextManager[None]:
    config = tree.write("knot.conf", KNOT.format(port=port, primary=primary))
    return tree.run("knotd", "-c", config)


NEGATIVE = (
    ("nothing.sts.example", "TXT", dns.rcode.NXDOMAIN),
    ("_mta-sts.nobody.sts.example", "TXT", dns.rcode.NXDOMAIN),
    (NAME, "A", dns.rcode.NOERROR),
    # only names below it
    ("abc.sts.example", "TXT", dns.rcode.NOERROR),
)
RECIPE = {"sts.provider.example": "sts.example", "<secret in base64>": SECRET}
"""What stands in docs/behind/nameservers.md -> what it is here."""


def bind(tree: Tree, port: int, primary: int) -> AbstractAsyncContextManager[None]:
    places = {'"mailward"': f'"{KEY}"', "port 5300": f"port {primary}", "/var/cache/bind/": "/own/bind/"}
    own = read_recipe("nameservers.md", "/etc/bind/named.conf.local", RECIPE | places)
    config = tree.write("named.conf", BIND.format(port=port) + own)
    return tree.run("named", "-g", "-n", "1", "-c", config)


def powerdns(tree: Tree, port: int, primary: int) -> AbstractAsyncContextManager[None]:
    places = {"127.0.0.1, 192.0.2.53": f"127.0.0.1\nlocal-port={port}"}
    config = "/etc/powerdns/pdns.d/mailward.conf"
    tree.put(config, read_recipe("nameservers.md", config, places))
    schema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"
    tree.call("sqlite3", "/var/lib/powerdns/pdns.sqlite3", f".read {schema}")
    keyed = RECIPE | {":5300": f":{primary}", " mailward ": f" {KEY} "}
    for line in read_recipe("nameservers.md", "once", keyed).splitlines()[1:]:
        tree.call(*shlex.split(line))
    return tree.run("pdns_server", "--daemon=no", "--guardian=no", "--disable-syslog", "--socket-dir=/own")


async def follow(server: Nameserver, port: int) -> None:
    """Two changes, each told of."""
    secondaries = Secondaries([Secondary("127.0.0.1", port)], KEYS)
    try:
        await ask_until(port, NAME, "id=one")
        for serial, policy_id in ((2, "two"), (3, "three")):
            server.authority = authority(serial, policy_id)
            secondaries.tell(APEX)
            # the refresh of the SOA is a quarter of an hour: only NOTIFY makes it so soon
            await ask_until(port, NAME, f"id={policy_id}")
        assert list((await secondaries.serials(APEX)).values()) == [3]
        async with asyncio.timeout(20):
            await asyncio.gather(*secondaries._telling.values())
        # with a signature that holds: others are waited for
        assert secondaries.told["answered"] > 0
        assert secondaries.told.keys() == {"answered"}
    finally:
        secondaries.close()


async def test_knot_takes_the_zone_and_follows_each_change(
    tree: Tree, primary: tuple[Nameserver, int]
) -> None:
    port = free_port()
    async with knot(tree, port, primary[1]):
        await follow(primary[0], port)


async def test_bind_takes_the_zone_and_follows_each_change(
    tree: Tree, primary: tuple[Nameserver, int]
) -> None:
    """BIND asks by IXFR for what it has already, and gets the whole zone."""
    port = free_port()
    async with bind(tree, port, primary[1]):
        await follow(primary[0], port)
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            await dns.asyncquery.inbound_xfr("127.0.0.1", dns.zone.Zone("sts.example"), port=port)


def test_no_recipe_has_bind_give_the_zone_to_whoever_asks() -> None:
    """It would list the customers, with the label and the report address of each."""
    texts = [file.read_text() for file in FOLDER.parent.rglob("*.md")]
    zones = [zone for text in texts for zone in re.findall(r"^zone .*?^\};$", text, re.MULTILINE | re.DOTALL)]
    secondaries = [zone for zone in zones if "type secondary;" in zone]
    assert len(secondaries) == 4
    assert [zone for zone in secondaries if "allow-transfer { none; };" not in zone] == []


async def test_powerdns_takes_the_zone_and_follows_each_change(
    tree: Tree, primary: tuple[Nameserver, int]
) -> None:
    port = free_port()
    async with powerdns(tree, port, primary[1]):
        await follow(primary[0], port)


@asynccontextmanager
async def signed(tree: Tree, primary: int) -> AsyncIterator[tuple[int, int]]:
    """The ports of a Knot that signs, and of a BIND behind it, by the recipes."""
    knot_port, bind_port = free_port(), free_port()
    other = {"<another secret in base64>": base64.b64encode(b"another" * 5).decode()}
    at_knot = {
        "192.0.2.53": f"127.0.0.1@{primary}",
        "198.51.100.54": f"127.0.0.1@{bind_port}",
        "198.51.100.53": f"127.0.0.1@{knot_port}",
    }
    at_bind = {"primaries {": f"primaries port {knot_port} {{", "198.51.100.53": "127.0.0.1"}
    at_bind |= {'file "': 'file "/own/bind/'}
    own = read_recipe("../nameserver.md", "/etc/knot/knot.conf", RECIPE | other | {"ns2": KEY} | at_knot)
    knot_config = tree.write("knot.conf", SIGNER + own)
    at_bind["sts.provider.example"] = "sts.example"
    own = read_recipe("../nameserver.md", "/etc/bind/named.conf.local", other | at_bind)
    bind_config = tree.write("named.conf", BIND.format(port=bind_port) + own)
    async with tree.run("knotd", "-c", knot_config):
        # BIND asks a primary that is not there again only after a minute
        await ask_until(knot_port, "sts.example", "DNSKEY", "DNSKEY")
        async with tree.run("named", "-g", "-n", "1", "-c", bind_config):
            yield knot_port, bind_port


async def test_what_bind_has_of_a_knot_that_signs_is_validated(
    tree: Tree, primary: tuple[Nameserver, int]
) -> None:
    server, port = primary
    resolver = free_port()
    async with signed(tree, port) as (knot_port, bind_port):
        secondaries = Secondaries([Secondary("127.0.0.1", knot_port)], KEYS)
        await ask_until(bind_port, NAME, "id=one")
        # what the operator gives to the parent zone; "sts.example. DS 12345 13 2 ..."
        ds = tree.call("keymgr", "-c", "/own/knot.conf", "sts.example", "ds").splitlines()[0]
        config = tree.write("unbound.conf", UNBOUND.format(port=resolver, server=bind_port, ds=ds))
        async with tree.run("unbound", "-d", "-c", config):
            await ask_until(resolver, NAME, "id=one", flags=dns.flags.AD)
            for serial, policy_id in ((2, "two"), (3, "three")):
                server.authority = authority(serial, policy_id)
                secondaries.tell(APEX)
                response = await ask_until(resolver, NAME, f"id={policy_id}", flags=dns.flags.AD)
                assert "RRSIG TXT 13" in "\n".join(map(str, response.answer))
            for name, rdtype, rcode in NEGATIVE:
                answer = await ask(resolver, name, rdtype, dnssec=True)
                assert answer is not None
                assert (answer.rcode(), bool(answer.flags & dns.flags.AD)) == (rcode, True)
                shown = "\n".join(map(str, answer.authority))
                # nobody learns from it which labels there are
                assert " NSEC3 1 0 0 - " in shown
                assert " NSEC " not in shown
        secondaries.close()


@pytest.mark.django_db(transaction=True)
async def test_a_machine_that_remembers_nothing_passes_what_its_secondary_has(
    tree: Tree, tmp_path: Path
) -> None:
    """An old backup of the database on a new machine: the secondary has a newer serial, and takes the zone anew."""
    port = free_port()
    own = NameserverSettings(
        zone="sts.example",
        contact="one@sts.example",
        transfer_keys=(KEY_TEXT,),
        secondaries=(f"127.0.0.1:{port}",),
    )
    for contact, generation in (("one@sts.example", 5_000), ("restored@sts.example", 7)):
        folder = tmp_path / contact
        folder.mkdir()
        await in_store(HostingGeneration.objects.all().delete)
        await in_store(raise_serial, generation)
        # a contact of its own shows whose zone the secondary has
        settings = Settings(data=str(folder), nameserver=msgspec.structs.replace(own, contact=contact))
        server, secondaries = make_nameserver(settings)
        keeper = ZoneKeeper(folder / "zone.json", settings, server, secondaries)
        primary = await server.listen(["127.0.0.1"], 0)
        await keeper.refresh()
        assert keeper.serial == generation + 1
        async with knot(tree, port, primary):
            if generation == 7:
                await ask_until(port, "sts.example", "one.sts.example", "SOA")
                await pass_secondaries(keeper, secondaries)
                await keeper.refresh()
                assert keeper.serial == 5_002
            await ask_until(port, "sts.example", contact.replace("@", "."), "SOA")
        keeper.close()
        secondaries.close()
        await server.close()
