from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes.evidence import make_domains, report_failures, report_success

from mailward.config import Problems
from mailward.net import clock
from mailward.store.models import Domain, Notification, Organisation, User
from mailward.store.queries import problems as read
from mailward.store.scope import Scope, scope_of
from mailward.store.services.problems import Assessment, assess

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = NOON.date() - timedelta(days=3)

pytestmark = pytest.mark.django_db


@pytest.fixture
def scope(alice_user: User) -> Scope:
    scope = scope_of(alice_user)
    assert scope
    return scope


@pytest.fixture
def stranger(charlie_user: User) -> Scope:
    scope = scope_of(charlie_user)
    assert scope
    return scope


@pytest.fixture
def domains(organisation: Organisation) -> list[Domain]:
    return make_domains(organisation, [f"d{n:02}.test" for n in range(60)])


@pytest.fixture
def problem_id(domains: list[Domain]) -> int:
    for reporter in ("google.test", "microsoft.test"):
        report_failures(domains, DAY, reporter, failed=2)
    return look(domains).opened[0]


def look(domains: list[Domain]) -> Assessment:
    with clock.frozen(NOON):
        return assess([domain.pk for domain in domains], Problems())


def test_an_open_problem_is_listed_with_its_numbers(scope: Scope, problem_id: int) -> None:
    page = read.open_problems(scope)
    assert (page.number, page.pages, page.total) == (1, 1, 1)
    assert page.rows == (
        read.ProblemRow(
            id=problem_id,
            result_type="certificate-expired",
            host="mx1.example.net",
            cause="certificate-expired",
            reported_as="certificate-expired",
            opened_at=NOON,
            closed_at=None,
            first_day=DAY,
            last_day=DAY,
            sessions=240,
            reporters=2,
            domains=60,
        ),
    )


def test_its_domains_come_in_pages(scope: Scope, problem_id: int) -> None:
    first, last = read.problem(scope, problem_id), read.problem(scope, problem_id, page=99)
    assert first
    assert last
    assert (first.page, first.pages, first.total, len(first.domains)) == (1, 2, 60, 50)
    assert [each.name for each in last.domains] == [f"d{n:02}.test" for n in range(50, 60)]


def test_domains_where_it_is_gone_come_last_and_are_not_counted(
    scope: Scope, problem_id: int, domains: list[Domain]
) -> None:
    report_success(domains[:1], DAY + timedelta(days=1), "google.test")
    look(domains)
    detail = read.problem(scope, problem_id, page=2)
    assert detail
    assert (detail.problem.domains, detail.domains[-1].name) == (59, "d00.test")
    assert read.problems_of_domain(scope, domains[0].pk) == ()
    assert [row.id for row in read.problems_of_domain(scope, domains[1].pk)] == [problem_id]
    assert read.open_problem_counts(scope, [each.pk for each in domains[:2]]) == {domains[1].pk: 1}


def test_a_closed_problem_is_listed_apart_with_all_it_touched(
    scope: Scope, problem_id: int, domains: list[Domain]
) -> None:
    report_success(domains, DAY + timedelta(days=1), "google.test")
    look(domains)
    assert read.open_problems(scope).total == 0
    assert [(row.id, row.domains) for row in read.closed_problems(scope).rows] == [(problem_id, 60)]


def test_who_was_told_and_who_reports_it_is_shown(scope: Scope, problem_id: int) -> None:
    Notification.objects.create(
        organisation_id=scope.organisation_id,
        problem_id=problem_id,
        recipient="bob@example.test",
        domains=60,
        message_id="<1@example.test>",
        queued_at=NOON,
        error="550 no such person",
    )
    detail = read.problem(scope, problem_id)
    assert detail
    assert detail.told == (read.Told("bob@example.test", 60, NOON, None, "550 no such person"),)
    assert read.reporters_of_problem(scope, detail.problem) == (
        read.ReporterRow("google.test", 120, DAY),
        read.ReporterRow("microsoft.test", 120, DAY),
    )


def test_a_stranger_sees_nothing_of_it(
    stranger: Scope, scope: Scope, problem_id: int, domains: list[Domain]
) -> None:
    detail = read.problem(scope, problem_id)
    assert detail
    assert read.open_problems(stranger).total == 0
    assert read.problem(stranger, problem_id) is None
    assert read.problems_of_domain(stranger, domains[0].pk) == ()
    assert read.open_problem_counts(stranger, [domains[0].pk]) == {}
    assert read.reporters_of_problem(stranger, detail.problem) == ()
