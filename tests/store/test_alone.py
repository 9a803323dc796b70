"""What one reporter alone tells fills no list, and crowds out nothing that others or our checks see."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from tests.fakes.evidence import make_domains, make_organisation, report_failures, report_success

from mailward.config import Problems
from mailward.core import problems as rules
from mailward.net import clock
from mailward.store.models import DailyFailures, Domain, Problem
from mailward.store.services import problems
from mailward.store.services.findings import Cause, open_cause

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = date(2026, 11, 22)
RULES = Problems()

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_noon() -> Iterator[None]:
    with clock.frozen(NOON):
        yield


@pytest.fixture(autouse=True)
def _three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_ALONE", 3)


@pytest.fixture
def domain() -> Domain:
    return make_domains(make_organisation(), ["one.test"])[0]


def report(domain: Domain, reporter: str, hosts: dict[str, int]) -> None:
    report_failures([domain], DAY, reporter, failed=50, host="mx0.test")
    DailyFailures.objects.bulk_create(
        DailyFailures(
            organisation_id=domain.organisation_id,
            domain=domain,
            day=DAY,
            policy_type="sts",
            result_type="certificate-expired",
            host=host,
            reporter=reporter,
            sending_ip="",
            sessions=failed,
        )
        for host, failed in hosts.items()
    )


def assess(domain: Domain) -> problems.Assessment:
    return problems.assess([domain.pk], RULES)


def hosts() -> set[str]:
    return set(Problem.objects.filter(closed_at=None).values_list("host", flat=True))


def test_those_with_the_most_failed_sessions_are_open_and_the_others_held_back(domain: Domain) -> None:
    report(domain, "liar.test", {"mx1.test": 40, "mx2.test": 60, "mx3.test": 70})
    assessed = assess(domain)
    assert (len(assessed.opened), assessed.held_back) == (3, 1)
    assert hosts() == {"mx0.test", "mx2.test", "mx3.test"}
    again = assess(domain)
    assert (again.opened, again.held_back) == ((), 1)


def test_whoever_has_a_domain_is_one_reporter_under_any_name_below_it(domain: Domain) -> None:
    for number in range(6):
        report_failures([domain], DAY, f"d{number}.liar.test", failed=50, host=f"mx{number}.test")
    report_failures([domain], date(2026, 11, 23), "another.liar.test", failed=50, host="mx5.test")
    assert len(assess(domain).opened) == 3


def test_what_others_report_is_not_crowded_out(domain: Domain) -> None:
    report(domain, "liar.test", {f"mx{number}.test": 900 for number in range(1, 9)})
    assess(domain)
    report(domain, "google.test", {"real.test": 10, "mx8.test": 1})
    assert len(assess(domain).opened) >= 2
    # the first by google.test alone; of the second it tells too
    assert {"real.test", "mx8.test"} <= hosts()


def test_what_our_checks_see_is_none_of_them(domain: Domain) -> None:
    for host in ("mx1.test", "mx2.test"):
        open_cause(Cause(domain.organisation_id, domain.pk, "certificate-expired", host), RULES)
    report(domain, "liar.test", {f"mx{number}.test": 900 for number in range(1, 9)})
    assert len(assess(domain).opened) == 3
    assert len(hosts()) == 5


def test_where_one_is_over_another_has_its_place(domain: Domain) -> None:
    report(domain, "liar.test", {f"mx{number}.test": 50 - number for number in range(1, 5)})
    assess(domain)
    assert hosts() == {"mx0.test", "mx1.test", "mx2.test"}
    Problem.objects.filter(host="mx1.test").update(closed_at=NOON)
    assert len(assess(domain).opened) == 1
    assert hosts() == {"mx0.test", "mx2.test", "mx3.test"}


def test_a_flood_costs_seconds(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_ALONE", 100)
    report(domain, "liar.test", {f"mx{number}.liar.test": 60 for number in range(1, 8_000)})
    assessed = assess(domain)
    assert (len(assessed.opened), assessed.held_back) == (100, 7_900)
    report_success([domain], date(2026, 11, 23), "honest.test")
    assert len(assess(domain).opened) == 0
