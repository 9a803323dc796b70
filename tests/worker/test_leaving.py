"""Leaving MTA-STS, from mode none to the day on which nothing is served: a real DNS server, and a clock that is set."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.fakes.dns import FakeDns

from mailward.config import Dns, Settings
from mailward.core.mtasts.leaving import Stage
from mailward.core.mtasts.policy import Mode, Policy
from mailward.monitor.elsewhere import NOBODYS_LABEL
from mailward.net import clock
from mailward.notify.leavingletters import records_may_go
from mailward.store.aio import in_store
from mailward.store.models import Domain, DomainEvent, DomainRecipient, Leaving, Notice, PolicyVersion
from mailward.store.services import leaving
from mailward.store.services.policies import announce_version, publish_policy
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS

pytestmark = pytest.mark.django_db(transaction=True)
LEAVING = next(handler for handler in HANDLERS if handler.kind == "leaving")
DAY = timedelta(days=1)


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        server.set("_mta-sts.example.test", "TXT", "v=STSv1; id=1;")
        server.set("mta-sts.example.test", "A", "192.0.2.1")
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    return Settings(dns=Dns(resolvers=(dns.address,), authoritative_override=(dns.address,)))


def publish(domain: Domain, days: int) -> PolicyVersion:
    policy = Policy(Mode.ENFORCE, days * 86_400, ("mx.example.test",))
    return publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)


def start(domain: Domain, *max_ages: int) -> Leaving:
    for days in max_ages:
        publish(domain, days)
    DomainRecipient.objects.create(
        domain=domain, organisation_id=domain.organisation_id, email="ops@example.test"
    )
    return leaving.begin(domain.organisation_id, domain.pk, author_id=None, reason="we close")


async def work(settings: Settings) -> Leaving:
    await in_store(leaving.put_due, 100)
    await loop.work_once(settings, LEAVING)
    return await in_store(Leaving.objects.select_related("version").get)


async def test_p13_a_domain_leaves_step_by_step(settings: Settings, domain: Domain, dns: FakeDns) -> None:
    row = await in_store(start, domain, 30, 7)
    row = await work(settings)
    assert (row.version.mode, row.version.max_age_seconds) == ("none", 86_400)
    assert (row.served_at, row.wait_until) == (None, None)
    await in_store(announce_version, domain.pk, row.version_id)
    row = await work(settings)
    served_at = row.served_at
    assert served_at is not None
    # the older policy lived for 30 days
    assert row.wait_until == served_at + 30 * DAY
    with clock.frozen(served_at + 29 * DAY):
        row = await work(settings)
        assert row.told_at is None
    with clock.frozen(served_at + 31 * DAY):
        row = await work(settings)
        assert "has _mta-sts.example.test TXT" in row.detail
        await work(settings)
        assert await in_store(Notice.objects.count) == 1
        dns.remove("_mta-sts.example.test", "TXT")
        dns.remove("mta-sts.example.test", "A")
        row = await work(settings)
    assert row.outcome == "done"
    await in_store(domain.refresh_from_db)
    assert domain.current_version_id is None
    kinds = await in_store(lambda: list(DomainEvent.objects.order_by("id").values_list("kind", flat=True)))
    assert kinds[-4:] == ["leaving-begun", "policy-announced", "leaving-waited", "leaving-done"]


async def test_p13_a_policy_host_that_lagged_for_days_is_waited_for(
    settings: Settings, domain: Domain
) -> None:
    began = clock.now()
    with clock.frozen(began):
        await in_store(publish, domain, 30)
    with clock.frozen(began + 2 * DAY):
        # never seen to be served everywhere: a node was behind
        await in_store(publish, domain, 7)
    with clock.frozen(began + 5 * DAY):
        version = await in_store(publish, domain, 8)
    with clock.frozen(began + 9 * DAY):
        await in_store(announce_version, domain.pk, version.pk)
    with clock.frozen(began + 10 * DAY):
        row = await in_store(start, domain)
        await in_store(announce_version, domain.pk, row.version_id)
        row = await work(settings)
    # RFC 8461 section 8.3, step 3
    assert row.wait_until == began + (9 + 30) * DAY


async def test_records_that_go_too_early_do_not_end_the_policy(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    row = await in_store(start, domain, 7)
    await in_store(announce_version, domain.pk, row.version_id)
    dns.remove("_mta-sts.example.test", "TXT")
    dns.remove("mta-sts.example.test", "A")
    row = await work(settings)
    assert (row.outcome, await in_store(lambda: leaving.plan_of(row).stage)) == ("", Stage.WAIT)
    await in_store(domain.refresh_from_db)
    assert domain.current_version_id == row.version_id


async def test_what_a_wildcard_says_of_every_name_is_no_record_that_is_left(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    row = await in_store(start, domain, 7)
    await in_store(announce_version, domain.pk, row.version_id)
    began = (await work(settings)).served_at
    assert began is not None
    for label in ("_mta-sts", "mta-sts", NOBODYS_LABEL):
        dns.set(f"{label}.example.test", "TXT", "v=spf1 -all")
        dns.set(f"{label}.example.test", "A", "192.0.2.9", "192.0.2.8")
    dns.set("mta-sts.example.test", "A", "192.0.2.1")
    with clock.frozen(began + 8 * DAY):
        assert (await work(settings)).detail == f"{dns.address} has mta-sts.example.test A"
        dns.set("mta-sts.example.test", "A", "192.0.2.8", "192.0.2.9")
        assert (await work(settings)).outcome == "done"


async def test_another_policy_breaks_it_off(settings: Settings, domain: Domain) -> None:
    await in_store(start, domain, 7)
    policy = Policy(Mode.TESTING, 86_400, ("mx.example.test",))
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, policy, author_id=None))
    assert (await work(settings)).outcome == "broken-off"
    assert await in_store(PolicyVersion.objects.count) == 3


async def test_a_person_breaks_it_off(settings: Settings, domain: Domain) -> None:
    await in_store(start, domain, 7)
    assert await in_store(lambda: leaving.break_off(domain.organisation_id, domain.pk, author_id=None))
    row = await work(settings)
    assert row.outcome == "broken-off"
    # to begin again is another plan
    again = await in_store(
        lambda: leaving.begin(domain.organisation_id, domain.pk, author_id=None, reason="")
    )
    assert again.pk != row.pk


def test_where_we_write_the_records_the_mail_says_that_we_remove_them() -> None:
    _, by_hand = records_may_go("example.test")
    _, by_us = records_may_go("example.test", is_kept_up=True)
    assert "removes by itself" not in " ".join(by_hand)
    assert "What Mailward wrote at your DNS server it removes by itself" in " ".join(by_us)
