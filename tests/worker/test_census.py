"""What /metrics says of the installation, from a database that has rows of all kinds."""

from datetime import datetime, timedelta

import pytest
from asgiref.sync import async_to_sync

from mailward.config import Relay, Settings
from mailward.core.acme.settings import Acme
from mailward.core.metrics.family import Family
from mailward.net import clock
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    Certificate,
    CertificateCare,
    Domain,
    DomainImport,
    Leaving,
    MxChange,
    Notice,
    Organisation,
    OutboxItem,
    OwnNameCare,
    PolicyProfile,
    PolicyVersion,
    Problem,
    ProfileChange,
    QuarantinedMessage,
    RawMessage,
    Watch,
)
from mailward.store.services import notifications
from mailward.worker.census import CensusTaker

pytestmark = pytest.mark.django_db(transaction=True)

CA = "https://ca.example/directory"
WITH_RELAY = Settings(relay=Relay(host="relay.example.test"), acme=Acme(directories=(CA,)))


def numbers(settings: Settings = WITH_RELAY) -> dict[tuple[str, ...], float]:
    """Name and values of the labels -> value."""
    taker = CensusTaker(settings, ["mail"])
    async_to_sync(taker.take)()
    families: list[Family] = list(taker.families())
    return {
        (family.name.removeprefix("mailward_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_two_authorities_of_one_host_are_told_apart() -> None:
    urls = ("https://ca.example/one", "https://ca.example/two?key=secret", "https://other.example/directory")
    found = numbers(Settings(acme=Acme(directories=urls)))
    labels = {name[1] for name in found if name[0] == "certificate_order_room"}
    assert labels == {"ca.example/one", "ca.example/two", "other.example"}


def certificate(host: str, ends: datetime) -> Certificate:
    began = ends - timedelta(days=90)
    return Certificate.objects.create(
        host=host, directory=CA, chain="", key=b"", issuer="CA", not_before=began, not_after=ends,
        sequence=Certificate.objects.count() + 1,
    )  # fmt: skip


def care(domain: Domain, state: str, ends: datetime | None = None) -> None:
    held = certificate(f"mta-sts.{domain.name}", ends) if ends else None
    CertificateCare.objects.create(
        domain=domain, organisation=domain.organisation, due_at=clock.now(), state=state, current=held
    )


def more(organisation: Organisation, name: str) -> Domain:
    return Domain.objects.create(
        organisation=organisation, name=name, report_token=name[:8], claim_token=name
    )


def test_each_number_is_that_of_the_rows(domain: Domain) -> None:
    ends = _fill(domain)
    found = numbers()
    at = found.pop(("census_timestamp_seconds",))
    assert at == pytest.approx(clock.now().timestamp(), abs=60)
    assert found.pop(("queue_oldest_due_seconds", "assess")) == pytest.approx(600, abs=60)
    assert found.pop(("database_size_bytes",)) > 100_000
    assert {key: value for key, value in found.items() if value} == {
        ("database_up", "worker"): 1,
        ("queue_items", "assess"): 2,
        ("queue_due_items", "assess"): 1,
        ("queue_failing_items", "assess"): 1,
        ("domains", "enforce"): 1,
        ("domains", "unpublished"): 1,
        ("policies_unannounced",): 1,
        ("mx_changes_open",): 1,
        ("domains_leaving",): 1,
        ("problems_open", "starttls-not-supported"): 1,
        ("problems_open", "other"): 1,
        ("watched_domains",): 2,
        ("watch_overdue_domains",): 1,
        ("profile_changes_open", "stopped"): 1,
        ("imports", "running"): 1,
        ("mails_waiting",): 1,
        ("relay_up",): 1,
        ("quarantined_messages",): 1,
        ("certificates", "good"): 2,
        ("certificates", "gone"): 1,
        ("certificate_first_end_timestamp_seconds",): pytest.approx(ends.timestamp()),
        ("certificates_ending",): 1,
        ("certificate_order_room", "ca.example"): WITH_RELAY.acme.authorities[0].orders_per_3_hours - 1,
    }


def _fill(domain: Domain) -> datetime:
    """Returns when the first certificate ends."""
    now, organisation = clock.now(), domain.organisation
    ends = now + timedelta(days=3)
    due = now - timedelta(minutes=10)
    OutboxItem.objects.create(kind="assess", key="1", available_at=due)
    later = now + timedelta(hours=1)
    OutboxItem.objects.create(kind="assess", key="2", available_at=later, attempts=3, last_error="no")
    version = PolicyVersion.objects.create(
        organisation=organisation, domain=domain, number=1, policy_id="1", mode="enforce",
        max_age_seconds=86_400, text="", created_at=now - timedelta(hours=1),
    )  # fmt: skip
    Domain.objects.filter(pk=domain.pk).update(current_version=version, claim_verified_at=now)
    gone = more(organisation, "gone.test")
    MxChange.objects.create(
        organisation=organisation,
        domain=domain,
        kind="new",
        subject="mx2.test",
        state="noticed",
        noticed_at=now,
    )
    profile = PolicyProfile.objects.create(
        organisation=organisation, name="p", mode="enforce", max_age_seconds=86_400
    )
    ProfileChange.objects.create(
        organisation=organisation, profile=profile, mode="testing", max_age_seconds=86_400, state="stopped"
    )
    Leaving.objects.create(organisation=organisation, domain=domain, version=version, begun_at=now)
    for result_type in ("starttls-not-supported", "made-up-by-a-reporter"):
        Problem.objects.create(
            organisation=organisation,
            result_type=result_type,
            host="",
            opened_at=now,
            first_day=now.date(),
            last_day=now.date(),
        )
    Watch.objects.create(organisation=organisation, domain=domain, due_at=now - timedelta(hours=1))
    Watch.objects.create(organisation=organisation, domain=gone, due_at=later)
    DomainImport.objects.create(organisation=organisation, source="f", state="running")
    Notice.objects.create(
        organisation=organisation, recipient="a@b.test", subject="s", message_id="m", queued_at=due
    )
    raw = RawMessage.objects.create(organisation=organisation, door="smtp", content=b"", received_at=now)
    QuarantinedMessage.objects.create(organisation=organisation, raw=raw, reason="r", received_at=now)
    notifications.set_relay_state(ok=True)
    care(domain, "good", now + timedelta(days=60))
    care(gone, "gone", now - timedelta(days=3))
    own = certificate("policies.test", ends)
    OwnNameCare.objects.create(host="policies.test", due_at=now, state="good", current=own)
    account = AcmeAccount.objects.create(directory=CA, key=b"")
    AcmeOrder.objects.create(account=account, host="policies.test", key=b"", method="http-01", placed_at=now)
    return ends


def test_a_certificate_whose_domain_went_elsewhere_runs_out_and_alarms_nobody(domain: Domain) -> None:
    care(domain, "gone", clock.now() - timedelta(days=3))
    found = numbers()
    assert ("certificate_first_end_timestamp_seconds",) not in found
    assert found["certificates_ending",] == 0
    assert found["certificates", "gone"] == 1


def test_a_relay_that_is_no_longer_in_the_settings_is_not_told_to_be_down(db: None) -> None:
    notifications.set_relay_state(ok=False, detail="no answer")
    assert numbers()["relay_up",] == 0
    assert ("relay_up",) not in numbers(Settings())


def test_a_state_that_a_newer_version_wrote_ends_no_worker(domain: Domain) -> None:
    care(domain, "of-tomorrow")
    found = numbers()
    assert found["database_up", "worker"] == 1
    assert found["certificates", "good"] == 0
    assert ("certificates", "of-tomorrow") not in found
