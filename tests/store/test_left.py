"""Who follows the plan to leave MTA-STS to its end is not told that there is no MTA-STS."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.core.check import made
from tests.fakes.looks import look_at

from mailward.config import Settings
from mailward.core.check.facts import Facts
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, Leaving, MxChange, Problem, RecordCheck
from mailward.store.services import following, leaving
from mailward.store.services.policies import announce_version, publish_policy
from mailward.store.services.upkeep import settle_records

pytestmark = pytest.mark.django_db
WAIT = timedelta(days=40)
NOTHING = made.facts(
    policy_host=replace(made.policy_host(), fetches=()),
    **made.record(),
)
NONE = made.facts(
    policy_host=made.policy_host(
        replace(made.policy_host().fetches[0], body=b"version: STSv1\nmode: none\nmax_age: 86400\n")
    ),
    **made.record("v=STSv1; id=2;"),
)
POLICY = Policy(Mode.ENFORCE, 86_400, (made.MX,))


def see(domain: Domain, at: datetime, facts: Facts) -> list[tuple[str, bool]]:
    """Two looks: the problems after them, and whether they are open."""
    for minutes in (0, 6):
        with clock.frozen(at + timedelta(minutes=minutes)):
            look_at(domain, replace(facts, at=clock.now()))
    rows = Problem.objects.order_by("id").values_list("result_type", "closed_at")
    return [(cause, closed_at is None) for cause, closed_at in rows]


@pytest.fixture
def told(domain: Domain) -> datetime:
    """The wait is over, and people were told that the records may go. When that was."""
    Domain.objects.filter(pk=domain.pk).update(claim_verified_at=clock.now())
    version = publish_policy(domain.organisation_id, domain.pk, POLICY, author_id=None)
    announce_version(domain.pk, version.pk)
    look_at(domain, made.facts(at=clock.now()))
    row = leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    announce_version(domain.pk, row.version_id)
    look_at(domain, replace(NONE, at=clock.now()))
    at = clock.now() + WAIT
    with clock.frozen(at):
        leaving.advance(domain.pk)
        leaving.tell(row.pk, "subject", [], "")
    return at


def test_records_that_go_in_the_order_of_the_plan_are_no_problem(domain: Domain, told: datetime) -> None:
    half = replace(NONE, **made.record())
    assert see(domain, told, half) == []
    with clock.frozen(told + timedelta(hours=1)):
        leaving.note_records(Leaving.objects.get().pk, "")
    assert see(domain, told + timedelta(hours=2), NOTHING) == []


def test_that_nothing_is_there_is_a_problem_of_whoever_did_not_leave(domain: Domain) -> None:
    publish_policy(domain.organisation_id, domain.pk, POLICY, author_id=None)
    look_at(domain, made.facts(at=clock.now()))
    assert ("sts-absent", True) in see(domain, clock.now() + WAIT, NOTHING)


def test_a_problem_of_before_the_end_is_over_with_it(domain: Domain, told: datetime) -> None:
    row = Leaving.objects.get()
    Leaving.objects.update(told_at=None)
    assert see(domain, told, NOTHING) == [("sts-absent", True)]
    Leaving.objects.update(told_at=told)
    with clock.frozen(told + timedelta(hours=1)):
        leaving.note_records(row.pk, "")
    assert see(domain, told + timedelta(hours=2), NOTHING) == [("sts-absent", False)]


def test_a_record_that_was_right_and_goes_as_it_should_is_not_told(domain: Domain, told: datetime) -> None:
    for record in ("_mta-sts", "mta-sts"):
        RecordCheck.objects.create(
            organisation_id=domain.organisation_id,
            domain=domain,
            record=record,
            state="missing",
            was_right=True,
            checked_at=told,
        )
    with clock.frozen(told + timedelta(days=2)):
        for _ in range(3):
            settle_records(domain.pk, ["_mta-sts", "mta-sts"], Settings().problems)
    assert not Problem.objects.exists()


def test_a_planned_host_is_planned_no_more(domain: Domain, told: datetime) -> None:
    soon = told + timedelta(days=3)
    following.plan(domain.organisation_id, domain.pk, "mx9.example.test", soon, author_id=None)
    with clock.frozen(told + timedelta(hours=1)):
        leaving.note_records(Leaving.objects.get().pk, "")
    assert (MxChange.objects.get().state, MxChange.objects.get().detail) == (
        "withdrawn",
        "there is no policy any more",
    )
