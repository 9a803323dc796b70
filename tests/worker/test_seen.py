"""An id that is told and looked for at each server of the zone, of which the secondary has it a moment later."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from tests.fakes.dns import FakeDns
from tests.fakes.onefamily import NEEDS_ROOT, without_ways
from tests.worker import test_leaving

from mailward.config import Dns, Settings
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain, OutboxItem, PolicyVersion
from mailward.store.services.policies import announce_version
from mailward.worker.announcing import see_domain

pytestmark = [pytest.mark.django_db(transaction=True), NEEDS_ROOT]
NAME = "_mta-sts.example.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2")


@pytest.fixture
async def servers() -> AsyncIterator[tuple[FakeDns, ...]]:
    """Primary and secondary, the first of them the resolver too."""
    both = tuple(FakeDns(host=address) for address in ADDRESSES)
    for each in both:
        each.port = 53  # where the worker asks the servers of a zone: nobody else is in this network
        for apex in ("test", "example.test"):
            each.delegate(apex, "ns1.example.test.", "ns2.example.test.")
        for number, address in enumerate(ADDRESSES, 1):
            each.set(f"ns{number}.example.test", "A", address)
    with without_ways():
        async with both[0], both[1]:
            yield both


@pytest.fixture
async def version(domain: Domain) -> PolicyVersion:
    version: PolicyVersion = await in_store(test_leaving.publish, domain, 7)
    await in_store(announce_version, domain.pk, version.pk)
    return version


def look_at_records() -> datetime:
    return OutboxItem.objects.get(kind="records").available_at


async def see(servers: tuple[FakeDns, ...], domain: Domain) -> str:
    settings = Settings(dns=Dns(resolvers=(servers[0].address,), allow_private_addresses=True))
    return await see_domain(settings, domain.pk)


async def test_a_secondary_that_is_a_moment_behind_is_waited_for(
    servers: tuple[FakeDns, ...], domain: Domain, version: PolicyVersion
) -> None:
    """A look at the records in that moment would say for minutes that they contradict each other."""
    assert timedelta(seconds=3) < await in_store(look_at_records) - clock.now() < timedelta(seconds=6)
    text = f"v=STSv1; id={version.policy_id};"
    servers[0].set(NAME, "TXT", text)
    servers[1].set(NAME, "TXT", "v=STSv1; id=before;")
    asyncio.get_running_loop().call_later(0.7, servers[1].set, NAME, "TXT", text)
    assert await see(servers, domain) == ""
    assert await in_store(look_at_records) <= clock.now()


async def test_who_publishes_by_hand_is_not_waited_for(
    servers: tuple[FakeDns, ...], domain: Domain, version: PolicyVersion
) -> None:
    for each in servers:
        each.set(NAME, "TXT", "v=STSv1; id=before;")
    begun = clock.monotonic()
    assert "127.0.0.2:53: it tells the id before" in await see(servers, domain)
    assert clock.monotonic() - begun < 2
    assert await in_store(look_at_records) > clock.now()
