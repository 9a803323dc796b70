"""Two nodes on one PostgreSQL: each in its turn gets the new release, while the other one serves."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import dns.asyncquery
import dns.message
import pytest
from tests.postgresql import Server
from tests.upgrade.installation import (
    LABEL,
    PREVIOUS,
    ZONE,
    Installation,
    Release,
    next_release,
    policy,
    previous_release,
    this_release,
)
from tests.upgrade.load import PATIENCE_SECONDS, Load

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
_log = logging.getLogger(__name__)
DATABASE = "rolling"


@pytest.fixture
async def nodes(tmp_path: Path, server: Server) -> AsyncIterator[list[Installation]]:
    made = [Installation(tmp_path / name) for name in ("one", "two")]
    places = [f"127.0.0.1:{node.ports['POLICY_HOST_PORT']}" for node in made]
    for node in made:
        node.folder.mkdir()
        node.shared |= {
            "MAILWARD_DATABASE_NAME": DATABASE,
            "MAILWARD_DATABASE_HOST": str(server.folder),
            "MAILWARD_DATABASE_USER": "mailward",
            # a policy's id is told once both were seen to serve it
            "MAILWARD_POLICY_HOST_NODES": " ".join(places),
        }
    yield made
    for node in made:
        node.kill()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    server.create(DATABASE)
    yield server
    server.remove()


async def test_from_the_previous_release_and_back_what_one_node_refuses_the_other_takes(
    nodes: list[Installation], server: Server, tmp_path: Path
) -> None:
    old, new = previous_release(tmp_path), this_release()
    prepare(nodes, old)
    load = Load(nodes, udp_seconds=3)
    await upgrade_in_turns(nodes, load, old, new)
    _log.info(load.told)
    assert load.failures == [], load.told
    assert load.acknowledged - stored(server) == set()
    back = nodes[0].run(new, "-m", "mailward", "database", "migrate", "--to", PREVIOUS[0])
    assert back.returncode == 0, back.stderr
    for node in nodes:
        await node.start(old)
    async with load.going_on():
        await load.enough()
    assert load.failures == [], load.told
    assert load.acknowledged - stored(server) == set()


async def test_with_sockets_that_stay_neither_node_refuses_anything(
    nodes: list[Installation], server: Server, tmp_path: Path
) -> None:
    old, new = this_release(), next_release(tmp_path)
    prepare(nodes, old)
    load = Load(nodes)
    with ExitStack() as held:
        for node in nodes:
            held.enter_context(node.holding())
        await upgrade_in_turns(nodes, load, old, new)
    _log.info(load.told)
    assert load.refusals == [], load.told
    assert load.acknowledged - stored(server) == set()
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'store_domain'"
    assert "of_the_next_release" in server.sql(columns, DATABASE).splitlines()


def prepare(nodes: Sequence[Installation], release: Release) -> None:
    """The second has the keys of the first, as docs/database.md says; and its authority, in place of a public one."""
    nodes[0].prepare(release)
    nodes[0].publish(release, 1)
    shutil.copytree(nodes[0].data, nodes[1].data)


async def upgrade_in_turns(nodes: Sequence[Installation], load: Load, old: Release, new: Release) -> None:
    """Policies are changed by each release while both run, and must come from both nodes."""
    first, second = nodes
    for node in nodes:
        await node.start(old)
    await load.until_served()
    async with load.going_on():
        await load.enough()
        await until_told(load, 1)
        await upgrade(first, load, new, other=second)
        await change(first, load, new, 2)
        await change(second, load, old, 3)
        await load.enough()
        await upgrade(second, load, new, other=first)
        await change(second, load, new, 4)
    for node in nodes:
        await node.stop()


async def upgrade(node: Installation, load: Load, new: Release, other: Installation) -> None:
    seen = len(load.refusals)
    await node.stop()
    await node.start(new)
    started = len(load.refusals)
    await load.enough()
    assert load.refused_by(other, seen) == []
    assert load.refused_by(node, started + len(load.kinds)) == []  # at most one of each kind was under way


async def change(node: Installation, load: Load, release: Release, number: int) -> None:
    load.versions.add(number)
    await asyncio.to_thread(node.publish, release, number)
    await until_told(load, number)


async def until_told(load: Load, number: int) -> None:
    """Until the policy is served by both nodes, and its id told by both: whichever worker saw that."""
    wanted = dict.fromkeys((node.name for node in load.nodes), policy(number))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while load.served != wanted:  # noqa: ASYNC110 - what is awaited is in other processes
            await asyncio.sleep(0.05)
        while {await told_by(node) for node in load.nodes} != {number}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def told_by(node: Installation) -> int:
    """The number of the version whose id this node's nameserver tells; 0: none."""
    query = dns.message.make_query(f"_mta-sts.{LABEL}.{ZONE}", "TXT")
    answer = await dns.asyncquery.tcp(query, "127.0.0.1", port=node.ports["NAMESERVER_PORT"], timeout=60)
    text = str(answer.answer[0][0]) if answer.answer else "id=id0;"
    return int(text.partition("id=id")[2].partition(";")[0])


def stored(server: Server) -> set[str]:
    return set(server.sql("SELECT report_id FROM store_report", DATABASE).splitlines())
