"""What one reporter can do whose DKIM is valid and whose reports are lies: anybody with a domain can be one."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from tests.fakes.arrivals import arrive
from tests.fakes.evidence import make_domains, make_organisation
from tests.fakes.relay import FakeRelay

from mailward.config import Settings
from mailward.net import clock
from mailward.store.models import (
    Domain,
    Membership,
    Notification,
    Organisation,
    OutboxItem,
    Problem,
    Role,
    Trust,
    User,
)
from mailward.store.services.incoming import COUNTED_TRUST, Judgement
from mailward.worker import run_once

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVIL = Judgement(Trust.VERIFIED, "pass", "valid", "evil.test")
GOOGLE = Judgement(Trust.VERIFIED, "pass", "valid", "google.test")

pytestmark = pytest.mark.django_db


@pytest.fixture
def domain() -> Domain:
    organisation: Organisation = make_organisation()
    for name in ("alice", "bob"):
        user = User.objects.create(email=f"{name}@example.net")
        Membership.objects.create(organisation=organisation, user=user, role=Role.READER)
    return make_domains(organisation, ["example.test"])[0]


def detail(result_type: str, host: str = "mx.example.test", number: int = 1_000) -> dict[str, Any]:
    return {"result-type": result_type, "receiving-mx-hostname": host, "failed-session-count": number}


def lie(
    domain: Domain, at: datetime, *details: dict[str, Any], signer: Judgement = EVIL, **report: Any
) -> None:
    with clock.frozen(at):
        arrive(
            domain, signer, at=at, **({"successful": 0, "failed": 1_000, "details": list(details)} | report)
        )


def work(settings: Settings, at: datetime) -> None:
    with clock.frozen(at):
        async_to_sync(run_once)(settings)


def mails(relay: FakeRelay) -> Counter[str]:
    return Counter(mail.recipients[0] for mail in relay.mails)


def test_one_report_of_a_thousand_invented_results_is_few_problems_and_one_mail(
    domain: Domain, settings: Settings, relay: FakeRelay
) -> None:
    lie(domain, NOON, *(detail(f"invented-{number}") for number in range(1_000)))
    for minutes in range(0, 60, 10):
        work(settings, NOON + timedelta(minutes=minutes))
    assert Problem.objects.count() == 21
    assert mails(relay) == {"alice@example.net": 1, "bob@example.net": 1}


def test_a_new_lie_every_few_minutes_is_few_mails_and_hides_no_true_report(
    domain: Domain, settings: Settings, relay: FakeRelay
) -> None:
    for number in range(36):
        at = NOON + timedelta(minutes=20 * number)
        lie(domain, at, detail("certificate-expired", f"mx{number}.evil.test"), report_id=str(number))
        if number == 20:
            true = [detail("starttls-not-supported", number=5_000)]
            lie(domain, at, signer=GOOGLE, report_id="true", failed=5_000, details=true)
        work(settings, at)
    assert mails(relay) == {"alice@example.net": 7, "bob@example.net": 7}
    told = [mail for mail in relay.mails if b"starttls-not-supported" in mail.content]
    assert {mail.recipients[0] for mail in told} == {"alice@example.net", "bob@example.net"}
    work(settings, at + timedelta(hours=4))
    assert not OutboxItem.objects.filter(kind="notify").exists()
    assert Notification.objects.filter(sent_at__isnull=False).count() == 2 * Problem.objects.count()


def test_what_nobody_vouches_for_opens_and_closes_nothing(
    domain: Domain, settings: Settings, relay: FakeRelay
) -> None:
    for trust in Trust:
        if trust not in COUNTED_TRUST:
            for signer in ("evil.test", "google.test"):
                claim = Judgement(trust, "fail", "", signer)
                lie(domain, NOON, detail("certificate-expired"), signer=claim, report_id=f"{trust} {signer}")
    work(settings, NOON)
    assert Problem.objects.count() == 0
    lie(domain, NOON, detail("certificate-expired"), signer=GOOGLE)
    for day in ("2026-11-24", "2026-11-25", "2026-11-26"):
        unsigned = Judgement(Trust.UNVERIFIED, "absent")
        lie(domain, NOON, signer=unsigned, day=day, successful=1_000, failed=0, report_id=day)
    work(settings, NOON + timedelta(hours=1))
    assert Problem.objects.get().closed_at is None


def test_a_million_made_up_successes_hide_no_failures(
    domain: Domain, settings: Settings, relay: FakeRelay
) -> None:
    """Whoever attacks connections would like nobody to hear of it."""
    lie(domain, NOON, successful=10**9, failed=0)
    lie(domain, NOON, detail("starttls-not-supported", number=50), signer=GOOGLE, successful=50, failed=50)
    for minutes in (0, 10):
        work(settings, NOON + timedelta(minutes=minutes))
    assert Problem.objects.get().result_type == "starttls-not-supported"
    assert set(mails(relay)) == {"alice@example.net", "bob@example.net"}
