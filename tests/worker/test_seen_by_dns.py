"""Whether a name leads to our nameserver is seen by what we show there, and told where it is not shown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import dns.asyncquery
import dns.message
import msgspec
import pytest
from tests.fakes.pebble import Pebble
from tests.worker.certificatebed import Bed, pebble_for

from mailward.config import Nameserver
from mailward.core.acme.state import CareState
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, Certificate, Domain, Problem
from mailward.worker import ordering

pytestmark = pytest.mark.django_db(transaction=True)

CHALLENGE = "_acme-challenge.mta-sts.example.test"


@pytest.fixture(autouse=True)
def _published(bed: Bed, domain: Domain) -> None:
    bed.publish(domain)
    bed.dns.set(f"mta-sts.{domain.name}", "A", "127.0.0.3")  # a proxy of the customer's; nobody is there


async def start(bed: Bed, pebble: Pebble) -> None:
    await bed.start([pebble.directory])
    bed.settings = msgspec.structs.replace(bed.settings, nameserver=Nameserver(zone="sts.test"))


@asynccontextmanager
async def flattening(bed: Bed, domain: Domain) -> AsyncIterator[list[bytes]]:
    """A DNS host that shows what our nameserver says in place of the CNAME that its customer has entered: its texts."""
    server, secondaries = make_nameserver(bed.settings)
    keeper = ZoneKeeper(bed.folder / "zone.json", bed.settings, server, secondaries)
    port = await server.listen(["127.0.0.1"], 0)
    query = dns.message.make_query(f"_acme-challenge.{domain.delegation_token}.sts.test", "TXT")

    shown: list[bytes] = []

    async def copy() -> None:
        while True:
            await keeper.refresh()
            answer = await dns.asyncquery.udp(query, "127.0.0.1", 5, port)
            shown[:] = [rdata.strings[0] for rrset in answer.answer for rdata in rrset]
            bed.dns.set(CHALLENGE, "TXT", *shown)
            await asyncio.sleep(0.05)

    copying = asyncio.create_task(copy())
    try:
        yield shown
    finally:
        copying.cancel()
        await asyncio.wait([copying])
        keeper.close()
        secondaries.close()
        await server.close()


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if so():
                return
            await asyncio.sleep(0.05)


async def test_where_cnames_are_flattened_a_word_of_ours_is_seen_and_a_copy_of_it_brings_nothing(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await start(bed, pebble)
        async with flattening(bed, domain) as shown:
            await bed.work(domain)  # the first look finds nothing there, and has the word shown
            await until(lambda: bool(shown))
            care = await bed.work(domain)
            await until(lambda: shown == [care.dns_word.encode()])
        assert (care.state, care.detail) == (CareState.GOOD, "")
        assert "POST /chalZ" in pebble.log
        order = await in_store(AcmeOrder.objects.get)
        assert order.method == "dns-01"
    # the customer has left, and their DNS goes on showing what it saw last: that is not the next challenge. Another CA,
    # since this one may remember what was proved (Pebble now and then, though it is told not to)
    with pebble_for(bed, tmp_path / "other") as pebble:
        bed.use([pebble.directory])
        monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.0)
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        await bed.work(domain)
        await bed.pass_time(timedelta(minutes=21))
        care = await bed.work(domain)
        assert "POST /order-plz" in pebble.log
        assert "POST /chalZ" not in pebble.log
    assert care.state == CareState.FAILING
    assert await in_store(lambda: Problem.objects.get(closed_at=None).code) == "certificate-not-issued"
    assert await in_store(Certificate.objects.count) == 1


async def test_a_challenge_that_is_not_shown_for_long_is_told_and_the_ca_is_never_asked_to_look(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 0.0)
    # it leads to our zone, whose servers never take up a change
    bed.dns.set(CHALLENGE, "CNAME", f"_acme-challenge.{domain.delegation_token}.sts.test.")
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await start(bed, pebble)
        care = await bed.work(domain)
        words = f"{bed.dns.address} does not show the challenge yet"
        assert (care.state, care.detail) == (CareState.ORDERED, words)
        assert not await in_store(Problem.objects.exists)
        await bed.pass_time(timedelta(minutes=21))
        care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.FAILING, words)
        assert await in_store(lambda: Problem.objects.get(closed_at=None).code) == "certificate-not-issued"
        assert "POST /chalZ" not in pebble.log


async def test_where_one_of_several_addresses_is_silent_the_ca_is_not_sent_there(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    bed.dns.set(f"mta-sts.{domain.name}", "A", "127.0.0.1", "127.0.0.9")
    bed.dns.set(CHALLENGE, "CNAME", f"_acme-challenge.{domain.delegation_token}.sts.test.")
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await start(bed, pebble)
        await bed.work(domain)
    assert await in_store(lambda: AcmeOrder.objects.get().method) == "dns-01"
