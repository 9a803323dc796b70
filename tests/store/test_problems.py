import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.fakes.evidence import make_domains, make_organisation, report_failures, report_success

from mailward.config import Problems
from mailward.net import clock
from mailward.store.models import (
    DailyFailures,
    DailySessions,
    Domain,
    DomainRecipient,
    Organisation,
    OutboxItem,
    Problem,
    ProblemDomain,
)
from mailward.store.services import problems

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTLED = datetime(2026, 11, 25, tzinfo=UTC)
RULES = Problems()

pytestmark = pytest.mark.django_db


def day(number: int) -> date:
    return date(2026, 11, number)


@pytest.fixture(autouse=True)
def _at_noon() -> Iterator[None]:
    with clock.frozen(NOON):
        yield


@pytest.fixture
def organisation() -> Organisation:
    return make_organisation()


@pytest.fixture
def domains(organisation: Organisation) -> list[Domain]:
    return make_domains(organisation, [f"d{n}.test" for n in range(3)])


def assess(domains: list[Domain]) -> problems.Assessment:
    return problems.assess([domain.pk for domain in domains], RULES)


def assess_settled(domains: list[Domain]) -> problems.Assessment:
    """A day later: nothing more is expected of the 23rd."""
    with clock.frozen(SETTLED):
        return assess(domains)


def broken(domains: list[Domain], number: int = 22) -> Problem:
    """A problem of these domains, seen by two reporters."""
    for reporter in ("google.test", "microsoft.test"):
        report_failures(domains, day(number), reporter, failed=3)
    (opened,) = assess(domains).opened
    return Problem.objects.get(pk=opened)


def test_two_reporters_open_one_problem_with_the_domains_it_touches(domains: list[Domain]) -> None:
    problem = broken(domains[:2])
    assert (problem.result_type, problem.host) == ("certificate-expired", "mx1.example.net")
    assert (problem.sessions, problem.reporters) == (12, 2)
    assert (problem.first_day, problem.last_day) == (day(22), day(22))
    assert problem.opened_at == NOON
    assert set(problem.domains.values_list("domain__name", "sessions")) == {("d0.test", 6), ("d1.test", 6)}


def test_people_are_told_once_the_problem_has_gathered_its_domains(domains: list[Domain]) -> None:
    problem = broken(domains)
    item = OutboxItem.objects.get()
    assert (item.kind, item.key) == ("notify", str(problem.pk))
    assert item.available_at == NOON + timedelta(minutes=RULES.settle_minutes)


def test_one_reporter_with_few_failures_opens_nothing(domains: list[Domain]) -> None:
    report_failures(domains, day(22), "google.test", failed=3)
    assert assess(domains) == problems.Assessment()


def test_reporters_of_domains_that_are_not_assessed_now_count_too(domains: list[Domain]) -> None:
    report_failures(domains[:1], day(22), "google.test")
    assert not assess(domains[:1]).opened
    report_failures(domains[1:2], day(23), "microsoft.test")
    (opened,) = assess(domains[1:2]).opened
    assert ProblemDomain.objects.filter(problem_id=opened).count() == 2


def test_many_failures_of_one_reporter_open_a_problem(domains: list[Domain]) -> None:
    report_failures(domains[:1], day(22), "google.test", failed=10, ok=990)
    assert assess(domains).opened


def test_failures_older_than_the_window_open_nothing(domains: list[Domain]) -> None:
    report_failures(domains, day(16), "google.test", failed=1000)
    assert not assess(domains).opened


def test_what_was_clean_again_before_it_was_assessed_opens_nothing(domains: list[Domain]) -> None:
    report_failures(domains, day(21), "google.test", failed=1000)
    report_success(domains, day(22), "google.test")
    assert not assess(domains).opened


def test_who_reports_the_failure_and_then_a_clean_day_keeps_nobody_else_unheard(
    domains: list[Domain],
) -> None:
    report_failures(domains, day(20), "liar.test", failed=1)
    for number in (21, 22, 23):
        for reporter in ("google.test", "microsoft.test"):
            report_failures(domains, day(number), reporter, failed=300)
    report_success(domains, day(25), "liar.test")
    (opened,) = assess(domains).opened
    assert Problem.objects.get(pk=opened).domains.count() == len(domains)


def test_two_policy_types_about_the_same_sessions_are_not_added_up(domains: list[Domain]) -> None:
    for policy_type in ("sts", "tlsa"):
        report_failures(domains[:1], day(22), "google.test", failed=6, ok=0, policy_type=policy_type)
    assert not assess(domains).opened
    report_failures(domains[:1], day(23), "google.test", failed=6, ok=0, policy_type="tlsa")
    (opened,) = assess(domains).opened
    assert Problem.objects.get(pk=opened).sessions == 12


def test_a_host_that_reports_do_not_name_is_a_cause_of_its_own(domains: list[Domain]) -> None:
    report_failures(domains, day(22), "google.test", failed=20, host="")
    report_failures(domains, day(22), "microsoft.test", failed=20)
    assert len(assess(domains).opened) == 2


def test_two_organisations_on_one_mx_have_a_problem_each(domains: list[Domain]) -> None:
    others = make_domains(make_organisation("Other"), ["other.test"])
    report_failures(domains, day(22), "google.test")
    report_failures(others, day(22), "microsoft.test")
    assert not assess(domains + others).opened  # one reporter each
    report_failures(others, day(23), "google.test")
    (opened,) = assess(domains + others).opened
    assert list(ProblemDomain.objects.filter(problem_id=opened).values_list("domain__name", flat=True)) == [
        "other.test"
    ]


def test_a_domain_that_shows_the_cause_later_joins_the_open_problem(domains: list[Domain]) -> None:
    problem = broken(domains[:1])
    OutboxItem.objects.all().delete()
    report_failures(domains[1:2], day(23), "google.test", failed=1)
    assert assess(domains) == problems.Assessment()
    problem.refresh_from_db()
    assert (problem.sessions, problem.last_day, problem.domains.count()) == (7, day(23), 2)
    assert not OutboxItem.objects.exists(), "who was told is not told again"


def test_who_hears_of_a_joining_domain_alone_is_told_too(domains: list[Domain]) -> None:
    problem = broken(domains[:1])
    OutboxItem.objects.all().delete()
    DomainRecipient.objects.create(
        organisation_id=problem.organisation_id, domain=domains[1], email="one@d1.test"
    )
    report_failures(domains[1:2], day(23), "google.test", failed=1)
    assess(domains)
    assert OutboxItem.objects.get().key == str(problem.pk)


def test_assessing_again_changes_nothing(domains: list[Domain]) -> None:
    problem = broken(domains)
    before = list(ProblemDomain.objects.order_by("id").values())
    OutboxItem.objects.all().delete()
    assert assess(domains) == problems.Assessment()
    assert list(ProblemDomain.objects.order_by("id").values()) == before
    assert Problem.objects.get().sessions == problem.sessions
    assert not OutboxItem.objects.exists()


def test_a_problem_closes_when_reports_show_it_gone_for_each_of_its_domains(domains: list[Domain]) -> None:
    problem = broken(domains[:2])
    report_success(domains[:1], day(23), "google.test")
    assert not assess_settled(domains).closed
    assert problem.domains.filter(gone_at__isnull=True).get().domain == domains[1]
    report_success(domains[1:2], day(23), "microsoft.test")
    assert assess_settled(domains).closed == (problem.pk,)
    problem.refresh_from_db()
    assert problem.closed_at == SETTLED


def test_a_lasting_failure_stays_one_problem_though_the_first_report_of_each_day_knows_nothing_of_it(
    domains: list[Domain],
) -> None:
    def send(number: int, failed: int) -> problems.Assessment:
        """One of the two reports of a day, of which each changes the rows of that day."""
        with clock.frozen(datetime(2026, 11, number + 1, 0, 20 if failed else 0, tzinfo=UTC)):
            DailySessions.objects.filter(day=day(number)).delete()
            if failed:
                report_failures(domains[:1], day(number), "google.test", failed=failed)
            else:
                report_success(domains[:1], day(number), "google.test")
            return assess(domains)

    found = [send(number, failed) for number in range(16, 22) for failed in (0, 20)]
    assert [len(each.opened) for each in found] == [0, 1] + [0] * 10
    assert not any(each.closed for each in found)


def test_what_settles_is_assessed_though_no_report_comes(domains: list[Domain]) -> None:
    problem = broken(domains[:2])
    report_success(domains[:1], day(23), "google.test")
    assert assess(domains) == problems.Assessment()
    OutboxItem.objects.all().delete()
    assert problems.put_settled() == 0
    with clock.frozen(SETTLED):
        assert problems.put_settled() == 1
        assert OutboxItem.objects.get().key == str(domains[0].pk)
        assess(domains)
        assert problems.put_settled() == 0
    assert problem.domains.get(gone_at=SETTLED).domain == domains[0]


def test_success_of_a_reporter_that_never_saw_the_failure_closes_after_three_days(
    domains: list[Domain],
) -> None:
    problem = broken(domains[:1], 20)
    for number in (21, 22):
        report_success(domains[:1], day(number), "yahoo.test")
        assert not assess(domains).closed
    report_success(domains[:1], day(23), "yahoo.test")
    assert assess_settled(domains).closed == (problem.pk,)


def test_reports_of_no_sessions_close_nothing(domains: list[Domain]) -> None:
    broken(domains[:1])
    report_success(domains[:1], day(23), "google.test", ok=0)
    assert not assess_settled(domains).closed


def test_a_problem_that_outlived_the_window_still_closes(domains: list[Domain]) -> None:
    problem = broken(domains[:1])
    with clock.frozen(NOON + timedelta(days=40)):
        assert not assess(domains).closed
        report_success(domains[:1], date(2027, 1, 1), "google.test")
        assert assess(domains).closed == (problem.pk,)


def test_a_domain_where_the_failure_returns_comes_back_to_the_open_problem(domains: list[Domain]) -> None:
    problem = broken(domains[:2], 20)
    report_success(domains[:1], day(21), "google.test")
    assess(domains)
    report_failures(domains[:1], day(22), "google.test")
    assess(domains)
    row = problem.domains.get(domain=domains[0])
    assert (row.gone_at, row.last_day) == (None, day(22))


def test_a_failure_that_returns_after_closing_is_a_new_problem_only_on_new_evidence(
    domains: list[Domain],
) -> None:
    first = broken(domains[:1], 20)
    report_success(domains[:1], day(21), "google.test")
    assert assess(domains).closed
    report_failures(domains[:1], day(20), "late.test")
    assert not assess(domains).opened, "a late report of an earlier day"
    report_failures(domains[:1], day(22), "google.test")
    assert not assess(domains).opened, "one reporter, one session"
    report_failures(domains[:1], day(22), "microsoft.test")
    (second,) = assess(domains).opened
    assert second != first.pk


def test_a_problem_whose_failures_are_no_longer_kept_closes_after_three_clean_days(
    domains: list[Domain],
) -> None:
    problem = broken(domains[:1], 18)
    DailyFailures.objects.all().delete()
    for number in (19, 20, 21):
        report_success(domains[:1], day(number), "yahoo.test")
    assert assess(domains).closed == (problem.pk,)


def test_a_report_dated_far_ahead_does_not_keep_its_problem_open(domains: list[Domain]) -> None:
    problem = broken(domains[:1])
    report_failures(domains[:1], date(2031, 1, 1), "google.test")
    report_success(domains[:1], day(23), "google.test")
    assert assess_settled(domains).closed == (problem.pk,)


def test_a_problem_whose_domains_were_deleted_is_closed_by_the_sweep(domains: list[Domain]) -> None:
    problem = broken(domains[:1])
    domains[0].delete()
    assert problems.close_gone() == [problem.pk]


# its 40,000 rows take a busy machine a while; what is measured is the processor's time
@pytest.mark.timeout(400)
def test_ten_thousand_domains_on_one_mx_are_assessed_in_seconds(organisation: Organisation) -> None:
    many = make_domains(organisation, [f"d{n}.test" for n in range(10_000)])
    for reporter in ("google.test", "microsoft.test"):
        for number in (21, 22):
            report_failures(many, day(number), reporter)
    start = time.process_time()
    (opened,) = assess(many).opened
    opening = time.process_time() - start
    assert ProblemDomain.objects.filter(problem_id=opened).count() == 10_000
    report_success(many, day(23), "google.test")
    start = time.process_time()
    assert assess_settled(many).closed == (opened,)
    closing = time.process_time() - start
    # some 3 s of one core, however busy the machine is: the limit says seconds, not minutes
    assert max(opening, closing) < 30
