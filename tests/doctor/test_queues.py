"""Work that is late, or fails again and again; certificates that are refused, in the CA's own words."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doctor.looking import NOBODY, grades, make_subject, told

from mailward.config import Doctor, Nameserver, Relay, Settings
from mailward.core.acme.settings import Acme, AcmeDirectory
from mailward.core.acme.state import CareState
from mailward.core.doctor.finding import Grade
from mailward.doctor.asking import NotAsked
from mailward.doctor.certificates import look_at_certificates
from mailward.doctor.queues import look_at_queues
from mailward.doctor.status import read_status
from mailward.net import clock
from mailward.store.models import (
    AcmeAccount,
    Certificate,
    CertificateCare,
    Domain,
    DomainImport,
    ImportState,
    Notice,
    Organisation,
    OutboxItem,
    OwnNameCare,
    PolicyVersion,
)

pytestmark = pytest.mark.django_db(transaction=True)

CA = "https://ca.example/directory"


async def test_an_empty_queue_is_well(tmp_path: Path) -> None:
    assert await grades(look_at_queues, make_subject(tmp_path)) == [Grade.GOOD]


async def test_work_that_is_due_for_long_is_told_and_what_waits_for_its_time_is_not(tmp_path: Path) -> None:
    now = clock.now()
    await OutboxItem.objects.acreate(kind="watch", key="1", available_at=now + timedelta(days=1))
    await OutboxItem.objects.acreate(kind="assess", key="1", available_at=now - timedelta(minutes=10))
    # somebody is at it
    late = now - timedelta(hours=3)
    await OutboxItem.objects.acreate(
        kind="import", key="1", available_at=late, claimed_until=now + timedelta(minutes=5)
    )
    assert await told(look_at_queues, make_subject(tmp_path)) == {}
    found = await told(look_at_queues, make_subject(tmp_path, doctor=Doctor(queue_minutes=5)))
    assert found == {"work-late": "assess: 1 pieces of work are due, the oldest for 10 minutes"}


async def test_what_fails_again_and_again_is_told_with_its_last_error(tmp_path: Path) -> None:
    later = clock.now() + timedelta(minutes=5)
    await OutboxItem.objects.acreate(
        kind="dns-update", key="1", available_at=later, attempts=1, last_error="once"
    )
    assert await told(look_at_queues, make_subject(tmp_path)) == {}
    await OutboxItem.objects.acreate(
        kind="dns-update", key="2", available_at=later, attempts=7, last_error="REFUSED"
    )
    found = await told(look_at_queues, make_subject(tmp_path))
    assert found == {"work-failing": "dns-update: 1 pieces of work fail again and again: REFUSED"}


async def test_mails_policies_and_imports_that_wait_are_told(tmp_path: Path, domain: Domain) -> None:
    late = clock.now() - timedelta(hours=5)
    await Notice.objects.acreate(
        organisation_id=domain.organisation_id,
        recipient="a@b.test",
        subject="s",
        message_id="m",
        queued_at=late,
        error="450 later",
    )
    await DomainImport.objects.acreate(
        organisation_id=domain.organisation_id, source="f", state=ImportState.RUNNING, created_at=late
    )
    domain.current_version = await PolicyVersion.objects.acreate(
        organisation_id=domain.organisation_id, domain=domain, number=1, policy_id="1", mode="testing",
        max_age_seconds=86400, text="", created_at=late,
    )  # fmt: skip
    domain.claim_verified_at = late
    await domain.asave()
    subject = make_subject(
        tmp_path, relay=Relay(host="relay.test"), nameserver=Nameserver(zone="sts.example.org")
    )
    found = await told(look_at_queues, subject)
    assert set(found) == {"mails-unsent", "imports-late", "policies-unannounced"}
    assert "450 later" in found["mails-unsent"]
    assert "example.test" in found["policies-unannounced"]


async def test_without_a_database_nothing_is_claimed(tmp_path: Path) -> None:
    with pytest.raises(NotAsked, match="it is away"):
        await told(look_at_queues, make_subject(tmp_path, no_database="it is away"))


async def test_refused_orders_are_told_in_the_words_of_the_ca(
    tmp_path: Path, organisation: Organisation
) -> None:
    now = clock.now()
    states = [("failing", "urn:ietf:params:acme:error:rateLimited: too many"), ("gone", ""), ("good", "")]
    for at, (state, detail) in enumerate(states):
        domain = await Domain.objects.acreate(
            organisation=organisation, name=f"d{at}.test", report_token=f"r{at}", claim_token="c"
        )
        await CertificateCare.objects.acreate(
            domain=domain, organisation=organisation, due_at=now, state=state, detail=detail
        )
    await OwnNameCare.objects.acreate(
        host="policies.test", due_at=now, state="reach", detail="leads elsewhere"
    )
    await AcmeAccount.objects.acreate(
        directory=CA, key=b"", blocked_until=now + timedelta(minutes=5), last_error="503"
    )
    found = await told(look_at_certificates, make_subject(tmp_path, acme=Acme(directories=(CA,))))
    assert found["orders-failing"] == (
        "1 domains get no certificate: d0.test: urn:ietf:params:acme:error:rateLimited: too many"
    )
    assert found["domains-gone"] == "1 domains led to us and do so no more: d1.test"
    assert found["own-name-failing"] == "policies.test, a name of ours: leads elsewhere"
    assert found["ca-blocked"].endswith("it said: 503")
    assert set(found) == {"orders-failing", "domains-gone", "own-name-failing", "ca-blocked"}


async def test_a_certificate_that_should_have_been_renewed_is_told(tmp_path: Path) -> None:
    subject, now = make_subject(tmp_path, acme=Acme(directories=(CA,))), clock.now()
    certificate = await Certificate.objects.acreate(
        host="policies.test", directory=CA, chain="", key=b"", issuer="CA", sequence=1,
        not_before=now - timedelta(days=60), not_after=now + timedelta(days=30),
    )  # fmt: skip
    await OwnNameCare.objects.acreate(host="policies.test", due_at=now, state="good", current=certificate)
    assert await told(look_at_certificates, subject) == {}
    with clock.stepped(timedelta(days=25)):
        found = await told(look_at_certificates, subject)
    assert list(found) == ["certificates-ending"]
    assert "the first that of policies.test" in found["certificates-ending"]


def test_the_glance_counts_certificates_that_no_ca_gives_while_others_wait_for_a_place(
    tmp_path: Path, domain: Domain
) -> None:
    """More wait than the CA takes: that was a division by zero."""
    now = clock.now()
    for number, state in enumerate((CareState.QUEUED, CareState.AWAY)):
        other = Domain.objects.create(
            organisation=domain.organisation,
            name=f"d{number}.test",
            report_token=f"r{number}",
            claim_token=f"c{number}",
            delegation_token=f"d{number}",
        )
        CertificateCare.objects.create(
            domain=other, organisation=domain.organisation, state=state, due_at=now, waiting_since=now
        )
    acme = Acme(directories=(AcmeDirectory(url="https://ca.test/dir"),))
    status = asyncio.run(read_status(Settings(data=str(tmp_path / "data"), dns=NOBODY, acme=acme), ""))
    assert status.figures is not None
    assert status.figures.certificates_failing == 1
