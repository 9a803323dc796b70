"""Updates by RFC 2136 at the real Knot and BIND."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace as changed

import dns.tsig
import pytest
from tests.behind.recipes import read_recipe
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask_until, make_tree

from mailward.net.dnsupdate import Declined, Foreign, Place, UpdateFailed, Wanted, check_zone, look, replace
from mailward.net.guard import Guard

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only")

SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEY = dns.tsig.Key("mailward.", SECRET, "hmac-sha256.")
LAB = Guard(allow_private=True)
STS = "_mta-sts.customer.example"
ZONE = """\
$ORIGIN customer.example.
@ 60 IN SOA ns h 1 900 300 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
mta-sts 60 IN A 192.0.2.1
_smtp._tls 60 IN TXT "v=TLSRPTv1; rua=mailto:somebody@elsewhere.example"
"""
RECIPE = {"example.org": "customer.example", "<secret in base64>": SECRET}
KNOT = """\
server:
  listen: 127.0.0.1@{port}
  rundir: /own/knot
database:
  storage: /own/knot
template:
  - id: default
    storage: /own/knot
    file: customer.zone
""" + read_recipe("../nameserver.md", "example.org at Knot", RECIPE)
BIND = """\
options {
  directory "/own/bind"; listen-on port {port} { 127.0.0.1; }; listen-on-v6 { none; };
  pid-file none; session-keyfile none; recursion no;
};
controls { };
""" + read_recipe("../nameserver.md", "example.org at BIND", RECIPE | {"example.org.zone": "customer.zone"})
SERVERS = {
    "knot": (KNOT, ("knotd", "-c", "/own/server.conf")),
    "bind": (BIND, ("named", "-g", "-n", "1", "-c", "/own/server.conf")),
}


def sts(policy_id: str) -> Wanted:
    return Wanted(STS, "TXT", (f"v=STSv1; id={policy_id};",))


@pytest.fixture
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture(params=SERVERS)
async def place(request: pytest.FixtureRequest, tree: Tree) -> AsyncIterator[Place]:
    config, command = SERVERS[request.param]
    port = free_port()
    tree.write(f"{request.param}/customer.zone", ZONE)
    tree.write("server.conf", config.replace("{port}", str(port)))
    async with tree.run(*command):
        await ask_until(port, "mta-sts.customer.example", "192.0.2.1", "A")
        yield Place("127.0.0.1", port, "customer.example", KEY)


async def test_what_we_wrote_is_changed_and_what_others_wrote_is_left_alone(place: Place) -> None:
    first, second = sts("one"), sts("two")
    await replace(place, first, (), LAB)
    await replace(place, first, (), LAB)  # again, as after a crash
    await replace(place, second, (first.values,), LAB)
    assert await look(place, STS, "TXT", LAB) == second.values
    with pytest.raises(Foreign, match="id=two;, which Mailward did not write"):
        await replace(place, sts("three"), (first.values,), LAB)
    assert await look(place, STS, "TXT", LAB) == second.values


async def test_others_give_way_only_where_that_is_asked_for(place: Place) -> None:
    report = Wanted("_smtp._tls.customer.example", "TXT", ("v=TLSRPTv1; rua=mailto:r@reports.example",))
    alias = Wanted("mta-sts.customer.example", "CNAME", ("policies.provider.example",))
    for wanted, complaint in ((report, "somebody@elsewhere"), (alias, "has other records")):
        with pytest.raises(Foreign, match=complaint):
            await replace(place, wanted, (), LAB)
        await replace(place, wanted, (), LAB, is_forced=True)
        assert await look(place, wanted.name, wanted.rdtype, LAB) == wanted.values
    assert await look(place, "mta-sts.customer.example", "A", LAB) == ()


async def test_what_goes_wrong_is_told_in_a_sentence(place: Place) -> None:
    wrong_secret = dns.tsig.Key("mailward.", b"0" * 32, "hmac-sha256.")
    unknown = dns.tsig.Key("nobody.", SECRET, "hmac-sha256.")
    cases = [
        (changed(place, key=wrong_secret), LAB, "secret or the algorithm"),
        (changed(place, key=unknown), LAB, "does not know"),
        (changed(place, port=1), LAB, "refused"),
        (place, Guard(), "which is not connected to; settings: dns.allow_private_addresses"),
    ]
    for wrong, guard, complaint in cases:
        with pytest.raises(UpdateFailed, match=complaint):
            await replace(wrong, sts("one"), (), guard)
    with pytest.raises(UpdateFailed, match="zone"):
        await replace(
            changed(place, zone="other.example"), Wanted("_mta-sts.other.example", "TXT", ("x",)), (), LAB
        )


async def test_a_zone_that_the_server_does_not_have_is_told_before_anything_is_written(place: Place) -> None:
    await check_zone(place, LAB)
    with pytest.raises(Declined, match="has no zone of this name"):
        await check_zone(changed(place, zone="mail.customer.example"), LAB)


async def test_two_at_once_do_not_overwrite_each_other(place: Place) -> None:
    """The prerequisite is the server's to check, at the moment of the change."""
    from mailward.net import dnsupdate

    update = dnsupdate._make_update(place, sts("mine"), (), is_forced=False)
    await replace(place, sts("theirs"), (), LAB)
    response = await dnsupdate._send(place, update, LAB)
    assert response.rcode() in dnsupdate._PREREQUISITE
    assert await look(place, STS, "TXT", LAB) == sts("theirs").values
