"""How long a zone's DNSSEC signatures last, as the real Knot makes them: fresh ones, and those that it leaves alone."""

import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask_until, make_tree

from mailward.monitor.everyserver import judge_signatures
from mailward.monitor.expected import State
from mailward.net import clock
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only")

ZONE = """\
$ORIGIN customer.example.
$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 30
@ IN NS ns
ns IN A 127.0.0.1
@ IN MX 10 mx
mx IN A 192.0.2.1
"""
CONFIG = """\
server:
  listen: 127.0.0.1@{port}
  rundir: /own/knot
database:
  storage: /own/knot
zone:
  - domain: customer.example
    storage: /own/knot
    file: customer.zone
    dnssec-signing: on
"""


@pytest.fixture
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture
async def resolver(tree: Tree) -> AsyncIterator[Resolver]:
    port = free_port()
    tree.write("knot/customer.zone", ZONE)
    tree.write("server.conf", CONFIG.format(port=port))
    async with tree.run("knotd", "-c", "/own/server.conf"):
        await ask_until(port, "mx.customer.example", "192.0.2.1", "A")
        place = f"127.0.0.1:{port}"
        yield Resolver([place], guard=Guard(allow_private=True), authoritative_override=[place])


async def test_knot_renews_long_before_it_is_told_of(resolver: Resolver) -> None:
    answers = await resolver.lookup_everywhere("customer.example", "MX", with_signatures=True)
    [answer] = answers.values()
    assert answer.records == ("10 mx.customer.example",)
    assert answer.signed is not None
    since, end = answer.signed
    now = clock.now()
    # two weeks are its default, and some of them are over already: it backdates
    assert timedelta(days=13) < timedelta(seconds=end) - timedelta(seconds=now.timestamp())
    assert judge_signatures("customer.example", answers, now).state is State.RIGHT
    # a tenth is what it leaves at the least
    renewed = now + timedelta(seconds=(end - now.timestamp()) - (end - since) * 0.1)
    assert judge_signatures("customer.example", answers, renewed).state is State.RIGHT
    late = now + timedelta(seconds=(end - now.timestamp()) - (end - since) * 0.06)
    assert judge_signatures("customer.example", answers, late).state is State.WRONG
    assert judge_signatures("customer.example", answers, now + timedelta(days=30)).state is State.WRONG
    plain = await resolver.lookup_everywhere("customer.example", "MX")
    assert [each.signed for each in plain.values()] == [None]
