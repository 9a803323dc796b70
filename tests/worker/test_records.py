from collections.abc import Iterator
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from tests.fakes.dns import FakeDns

from mailward.config import Dns, Settings
from mailward.net import clock
from mailward.store.models import Domain, Organisation, OutboxItem, RecordCheck, Watch
from mailward.store.services import outbox
from mailward.worker import run_once
from mailward.worker.records import check_domain

pytestmark = pytest.mark.django_db


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    with server.threaded():
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    where = (dns.address,)
    return Settings(dns=Dns(resolvers=where, authoritative_override=where, allow_private_addresses=True))


def states(domain: Domain) -> dict[str, str]:
    return dict(RecordCheck.objects.filter(domain=domain).values_list("record", "state"))


def test_what_the_zone_answers_is_kept_and_a_claim_that_is_seen_counts(
    dns: FakeDns, settings: Settings, domain: Domain
) -> None:
    dns.set("_mailward-challenge.example.test", "TXT", f"mailward-claim={domain.claim_token}")
    outbox.put("records", str(domain.pk))
    async_to_sync(run_once)(settings)
    domain.refresh_from_db()
    assert domain.claim_verified_at
    assert domain.records_checked_at
    assert states(domain) == {"claim": "right", "mta-sts": "missing", "_smtp._tls": "missing"}


def test_records_that_became_right_have_the_domain_looked_at_before_its_turn(
    dns: FakeDns, settings: Settings, domain: Domain
) -> None:
    now = clock.now()
    watch = Watch.objects.create(
        domain=domain,
        organisation=domain.organisation,
        due_at=now + timedelta(minutes=50),
        checked_at=now - timedelta(minutes=10),
    )
    asked = OutboxItem.objects.filter(kind="watch", key=str(domain.pk))
    async_to_sync(check_domain)(settings, domain.pk)
    assert not asked.exists()
    dns.set("_mailward-challenge.example.test", "TXT", f"mailward-claim={domain.claim_token}")
    async_to_sync(check_domain)(settings, domain.pk)
    # a minute later: resolvers keep the answers of before
    assert timedelta(seconds=50) < asked.get().available_at - now < timedelta(minutes=2)
    asked.delete()
    async_to_sync(check_domain)(settings, domain.pk)
    assert not asked.exists()
    watch.delete()  # nothing was seen before that could be out of date
    RecordCheck.objects.all().delete()
    async_to_sync(check_domain)(settings, domain.pk)
    assert not asked.exists()


def test_a_claim_that_is_missing_proves_nothing(settings: Settings, domain: Domain) -> None:
    async_to_sync(check_domain)(settings, domain.pk)
    domain.refresh_from_db()
    assert domain.claim_verified_at is None


def test_a_claim_that_another_organisation_holds_is_left_with_it(
    dns: FakeDns, settings: Settings, domain: Domain, strangers: Organisation
) -> None:
    theirs = Domain.objects.create(
        organisation=strangers, name=domain.name, report_token="theirs", claim_token="theirs"
    )
    texts = [f"mailward-claim={each.claim_token}" for each in (theirs, domain)]
    dns.set("_mailward-challenge.example.test", "TXT", *texts)
    for each in (theirs, domain):
        async_to_sync(check_domain)(settings, each.pk)
    assert list(Domain.objects.filter(claim_verified_at__isnull=False)) == [theirs]


def test_a_domain_that_is_gone_is_no_failure(settings: Settings) -> None:
    outbox.put("records", "999")
    async_to_sync(run_once)(settings)
    assert outbox.claim(["records"]) == []
