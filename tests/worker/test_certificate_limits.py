"""What CAs take of us, and when: limits of a name and of all, outages, and whose turn it is."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.worker.certificatebed import Bed, certificates, pebble_for

from mailward.core.acme.faults import Fault
from mailward.core.acme.faults import Scope as AcmeScope
from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.net.acme import AcmeClient, AcmeFault, Order
from mailward.store.aio import in_store
from mailward.store.models import AcmeAccount, AcmeOrder, Certificate, CertificateCare, Domain
from mailward.store.queries.certificates import counted_orders
from mailward.store.services.certificates import ca_failed, ensure_account

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "mta-sts.example.test"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _published(bed: Bed, domain: Domain) -> None:
    bed.publish(domain)


async def test_what_is_beyond_the_ca_s_limit_waits_for_its_place(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    others = await in_store(add, domain, "other1.test", "other2.test")
    for other in others:
        bed.publish(other)
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory_with(orders_per_3_hours=2)])
        states = [(await bed.work(each)).state for each in (domain, *others)]
        assert states == [CareState.GOOD, CareState.GOOD, CareState.QUEUED]
        waiting = await bed.care(others[1])
        assert timedelta(hours=0.9) < waiting.due_at - clock.now() < timedelta(hours=1.1)
        await bed.pass_time(timedelta(hours=3.1))
        assert (await bed.work(others[1])).state == CareState.GOOD


def add(beside: Domain, *names: str) -> list[Domain]:
    """More domains of the same organisation."""
    return [
        Domain.objects.create(organisation=beside.organisation, name=name, report_token=name, claim_token="c")
        for name in names
    ]


@pytest.mark.parametrize(("version", "state"), [("2.6", CareState.GOOD), ("", CareState.QUEUED)])
async def test_a_renewal_that_the_ca_has_suggested_takes_no_place(
    bed: Bed, domain: Domain, tmp_path: Path, version: str, state: CareState
) -> None:
    (other,) = await in_store(add, domain, "other.test")
    bed.publish(other)
    with pebble_for(bed, tmp_path / "pebble", version=version) as pebble:
        await bed.start([pebble.directory_with(orders_per_3_hours=1)])
        care = await bed.work(domain)
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        assert (await bed.work(other)).state == CareState.GOOD
        assert (await bed.work(domain)).state == state


async def test_a_renewal_that_the_ca_takes_as_any_other_order_takes_a_place(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """As when it has an order already that follows the same certificate, one that came to nothing here."""
    with pebble_for(bed, tmp_path / "pebble", version="2.6") as pebble:
        await bed.start([pebble.directory])
        await bed.work(domain)
        [first] = await certificates()
        for _ in range(2):
            await in_store(renew_suggested, domain, first)
            assert (await bed.work(domain)).state == CareState.GOOD
    orders = AcmeOrder.objects.order_by("placed_at").values_list("replaces", flat=True)
    assert await in_store(lambda: list(orders)) == ["", first.renewal_id, ""]
    assert await in_store(lambda: counted_orders(clock.now()).count()) == 2


def renew_suggested(domain: Domain, current: Certificate) -> None:
    CertificateCare.objects.filter(domain=domain).update(
        current=current, renew_at=clock.now(), renew_why="suggested", due_at=clock.now()
    )


async def test_a_renewal_has_the_next_place_and_then_whoever_has_waited_longest(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    others = await in_store(add, domain, "first.test", "second.test", "third.test")
    for other in others:
        bed.publish(other)
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory_with(orders_per_3_hours=1)])
        care = await bed.work(domain)
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        had: list[list[str]] = []
        for _ in range(4):
            states = [(each.name, (await bed.work(each)).state) for each in (*others, domain)]
            had.append([name for name, state in states if state == CareState.GOOD])
            await bed.pass_time(timedelta(hours=3, minutes=1))
    first, second, third = (each.name for each in others)
    assert had[:2] == [[first], [first, domain.name]]
    assert had[2:] == [[first, second, domain.name], [first, second, third, domain.name]]


DUPLICATE = (
    "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after"
    " 2026-12-02 10:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"
)
"""As Let's Encrypt words it."""


async def test_a_name_that_has_had_its_certificates_of_the_week_keeps_no_other_from_that_ca(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = await in_store(add, domain, "other.test")
    bed.publish(other)
    order = AcmeClient.new_order

    def limited(client: AcmeClient, host: str, *rest: str) -> Order:
        if host == HOST and client._ca.url == first.directory.url:
            raise AcmeFault(Fault(AcmeScope.CA, DUPLICATE, "rateLimited", timedelta(hours=34)))
        return order(client, host, *rest)

    monkeypatch.setattr(AcmeClient, "new_order", limited)
    first, second = (pebble_for(bed, tmp_path / name) for name in ("first", "second"))
    with first, second:
        await bed.start([first.directory])
        care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.FAILING, DUPLICATE)
        assert timedelta(hours=33) < care.due_at - clock.now() < timedelta(hours=35)
        assert (await bed.work(other)).state == CareState.GOOD
        # where there is another CA, the name has it from there
        bed.use([first.directory, second.directory])
        assert (await bed.work(domain)).state == CareState.GOOD
    assert [each.directory for each in await certificates()] == [first.directory.url, second.directory.url]


async def test_all_orders_under_way_that_fail_together_are_one_failure_of_the_ca(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """Eight lanes of four; the second node is told of the same by its own orders."""
    await bed.start([])
    account = await in_store(lambda: ensure_account("https://ca.test/dir", lambda: b""))
    away, busy = Fault(AcmeScope.CA, "away"), Fault(AcmeScope.CA, "busy", "", 3 * HOUR)

    def left_alone() -> tuple[int, timedelta, str]:
        row = AcmeAccount.objects.get(pk=account.pk)
        assert row.blocked_until is not None
        return row.failures, row.blocked_until - clock.now(), row.last_error

    ends = [await in_store(ca_failed, account.pk, away, chance) for chance in [0.0, *[1.0] * 31]]
    assert len(set(ends)) == 1
    count, wait, _ = await in_store(left_alone)
    assert (count, wait < timedelta(minutes=1)) == (1, True)
    # what the CA itself asks for is kept all the same
    await in_store(ca_failed, account.pk, busy, 0.5)
    count, wait, words = await in_store(left_alone)
    assert (count, words) == (1, "busy")
    assert timedelta(hours=2.9) < wait <= 3 * HOUR
    # away again, hours later: the second time
    await bed.pass_time(timedelta(hours=4))
    await in_store(ca_failed, account.pk, away, 0.5)
    count, wait, _ = await in_store(left_alone)
    assert (count, wait > timedelta(minutes=1.9)) == (2, True)
