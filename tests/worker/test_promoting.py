"""A domain that is enforced by itself, by the worker, with its MX records asked of a DNS server on loopback."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from tests.core.check import made
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.evidence import report_success
from tests.fakes.looks import look_at

from mailward.config import Dns, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, DomainEvent, OutboxItem, Rollout
from mailward.store.services import rollout
from mailward.store.services.policies import publish_policy
from mailward.worker.promoting import promote_domain

pytestmark = pytest.mark.django_db


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    with server.threaded():
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    return Settings(dns=Dns(resolvers=(dns.address,)))


@pytest.fixture
def due(domain: Domain) -> Domain:
    """Ready for long enough, by a choice of its people."""
    now = clock.now()
    with clock.frozen(now - timedelta(days=20)):
        version = publish_policy(
            domain.organisation_id, domain.pk, Policy(Mode.TESTING, 86_400, (made.MX,)), author_id=None
        )
    for back in range(1, 20):
        for reporter in ("google.com", "microsoft.com"):
            report_success([domain], (now - timedelta(days=back)).date(), reporter)
    served = replace(made.policy_host().fetches[0], body=version.text.encode())
    record = made.record(f"v=STSv1; id={version.policy_id};")
    look_at(domain, made.facts(at=now, policy_host=made.policy_host(served), **record))
    Rollout.objects.create(
        domain=domain,
        organisation=domain.organisation,
        state="ready",
        is_automatic=True,
        hold_days=7,
        ready_since=now - timedelta(days=8),
        judged_at=now - timedelta(hours=2),
    )
    return domain


def mode_of(domain: Domain) -> str:
    version = Domain.objects.get(pk=domain.pk).current_version
    return version.mode if version else ""


def test_what_is_due_is_enforced_by_the_worker(settings: Settings, due: Domain, dns: FakeDns) -> None:
    dns.set("example.test", "MX", f"10 {made.MX}.")
    rollout.judge_due(settings, 10)
    assert OutboxItem.objects.filter(kind="promote", key=str(due.pk)).exists()
    async_to_sync(promote_domain)(settings, due.pk)
    assert mode_of(due) == "enforce"
    # asked again, it is done
    async_to_sync(promote_domain)(settings, due.pk)
    assert DomainEvent.objects.filter(kind="rollout-promoted").count() == 1


@pytest.mark.parametrize("records", [(f"10 {made.MX}.", "20 mx.forged.test."), ()])
def test_mx_records_that_are_others_at_that_moment_stop_it(
    settings: Settings, due: Domain, dns: FakeDns, records: tuple[str, ...]
) -> None:
    if records:
        dns.set("example.test", "MX", *records)
    else:
        dns.fail(Fault.SERVFAIL, "example.test")
    async_to_sync(promote_domain)(settings, due.pk)
    assert mode_of(due) == "testing"
    assert DomainEvent.objects.filter(kind="rollout-refused").count() == 1
