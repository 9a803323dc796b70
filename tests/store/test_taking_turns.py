"""Of what is due only so much is put at once: what cannot go on, or waits in the queue already, keeps no other out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.fakes.evidence import make_domains

from mailward.config import Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import CertificateCare, Domain, Leaving, MxChange, Organisation, OutboxItem, Watch
from mailward.store.services import certificates, following, housekeeping, leaving, rollout, watching
from mailward.store.services.policies import announce_version, publish_policy

pytestmark = pytest.mark.django_db
LONG = Policy(Mode.ENFORCE, 30 * 86_400, ("mx.example.test",))
HOUR = timedelta(hours=1)


@pytest.fixture
def domains(organisation: Organisation) -> list[Domain]:
    return make_domains(organisation, [f"d{number}.test" for number in range(4)])


def put(kind: str, ask: Callable[[], object]) -> list[str]:
    """The names of the domains that it puts, beside those that are there."""
    before = set(OutboxItem.objects.filter(kind=kind).values_list("key", flat=True))
    ask()
    keys = set(OutboxItem.objects.filter(kind=kind).values_list("key", flat=True)) - before
    return sorted(Domain.objects.filter(pk__in=map(int, keys)).values_list("name", flat=True))


def leave(domain: Domain) -> Leaving:
    publish_policy(domain.organisation_id, domain.pk, LONG, author_id=None)
    return leaving.begin(domain.organisation_id, domain.pk, author_id=None)


def test_plans_that_wait_keep_none_out_that_can_go_on(domains: list[Domain]) -> None:
    rows = [leave(domain) for domain in domains]
    for domain, row in zip(domains[1:], rows[1:], strict=True):
        announce_version(domain.pk, row.version_id)
        leaving.advance(domain.pk)
    OutboxItem.objects.all().delete()
    # one is not served yet, and the others wait for thirty days
    assert put("leaving", lambda: leaving.put_due(1)) == []
    Leaving.objects.filter(pk__in=[rows[2].pk, rows[3].pk]).update(wait_until=clock.now() - HOUR)
    assert put("leaving", lambda: leaving.put_due(1)) == ["d2.test"]
    assert put("leaving", lambda: leaving.put_due(1)) == ["d3.test"]
    OutboxItem.objects.all().delete()
    leaving.note_records(rows[2].pk, "still there")
    assert put("leaving", lambda: leaving.put_due(1)) == ["d3.test"]


def test_a_plan_that_was_served_or_broken_off_unnoticed_is_looked_at(domains: list[Domain]) -> None:
    served, broken, undone, *_ = [leave(domain) for domain in domains]
    announce_version(domains[0].pk, served.version_id)
    publish_policy(broken.organisation_id, broken.domain_id, LONG, author_id=None)
    Domain.objects.filter(pk=undone.domain_id).update(current_version=None)
    OutboxItem.objects.all().delete()
    assert put("leaving", lambda: leaving.put_due(10)) == ["d0.test", "d1.test", "d2.test"]


def test_held_changes_keep_none_out_that_is_due(domains: list[Domain]) -> None:
    now = clock.now()
    for age, domain in enumerate(reversed(domains)):
        for host in ("mx1.test", "mx2.test"):
            MxChange.objects.create(
                organisation_id=domain.organisation_id,
                domain=domain,
                kind="appeared",
                subject=host,
                state="waiting",
                noticed_at=now,
                due_at=now - age * HOUR,
            )
    found = [put("follow", lambda: following.put_due(1)) for _ in range(5)]
    assert found == [["d0.test"], ["d1.test"], ["d2.test"], ["d3.test"], []]


def test_checks_certificates_and_records_take_turns(domains: list[Domain]) -> None:
    OutboxItem.objects.all().delete()
    watching.plan_new(Settings())
    certificates.plan_new()
    now = clock.now()
    for age, domain in enumerate(reversed(domains), 1):
        Watch.objects.filter(domain=domain).update(due_at=now - age * HOUR)
        CertificateCare.objects.filter(domain=domain).update(due_at=now - age * HOUR)
    expected = [["d0.test", "d1.test"], ["d2.test", "d3.test"], []]
    for kind, ask in (
        ("watch", watching.put_due),
        ("certificate", certificates.put_due),
        ("records", housekeeping.put_record_checks),
    ):
        assert [put(kind, lambda ask=ask: ask(2)) for _ in range(3)] == expected  # type: ignore[misc]  # a lambda


def test_a_domain_that_was_never_judged_comes_first(domains: list[Domain]) -> None:
    settings = Settings()
    assert rollout.judge_due(settings, 3) == 3
    with clock.frozen(clock.now() + 2 * HOUR):
        rollout.judge_due(settings, 1)
    assert set(Domain.objects.filter(rollout__isnull=False).values_list("name", flat=True)) == {
        "d0.test", "d1.test", "d2.test", "d3.test",
    }  # fmt: skip
