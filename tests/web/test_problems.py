"""Problems, as their people see them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client
from tests.fakes.evidence import make_domains, report_failures

from mailward.config import Problems
from mailward.core import problems as rules
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, MxChange, Notification, Organisation, Problem, ProblemDomain
from mailward.store.services.policies import publish_policy
from mailward.store.services.problems import assess
from mailward.web.pages.problems.cause import explain_cause

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def problem(domain: Domain) -> Problem:
    problem = Problem.objects.create(
        organisation=domain.organisation,
        result_type="certificate-expired",
        host="mx1.example.net",
        opened_at=clock.now(),
        first_day=DAY,
        last_day=DAY + timedelta(days=2),
        sessions=1234,
        reporters=2,
    )
    ProblemDomain.objects.create(
        problem=problem,
        domain=domain,
        organisation=domain.organisation,
        first_day=DAY,
        last_day=DAY,
        sessions=1234,
    )
    return problem


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_a_problem_says_what_it_means_and_what_to_do(rita: Client, problem: Problem) -> None:
    assert f"/problems/{problem.pk}/" in page(rita, "/problems/")
    shown = page(rita, f"/problems/{problem.pk}/")
    for words in (
        "Certificate expired",
        "mx1.example.net",
        "1,234",
        "What to do",
        "-connect mx1.example.net:25",
    ):
        assert words in shown
    assert "/domains/example.test/" in shown


def test_who_was_told_is_listed_and_why_not(alice: Client, problem: Problem) -> None:
    assert "Nobody yet" in page(alice, f"/problems/{problem.pk}/")
    Notification.objects.create(
        organisation_id=problem.organisation_id,
        problem=problem,
        recipient="ops@example.test",
        domains=1,
        message_id="1@x",
        queued_at=clock.now(),
        error="452 full",
    )
    shown = page(alice, f"/problems/{problem.pk}/")
    assert "ops@example.test" in shown
    assert "452 full" in shown


def test_what_is_over_is_listed_apart(alice: Client, problem: Problem) -> None:
    Problem.objects.update(closed_at=clock.now())
    assert "No open problem" in page(alice, "/problems/")
    assert "mx1.example.net" in page(alice, "/problems/?show=closed")
    assert "over since" in page(alice, f"/problems/{problem.pk}/")


def test_it_stands_on_the_page_of_its_domain(alice: Client, problem: Problem) -> None:
    shown = page(alice, "/domains/example.test/")
    assert f"/problems/{problem.pk}/" in shown
    assert "Certificate expired: mx1.example.net" in shown


@pytest.mark.parametrize("query", ["?page=99999999999", "?page=x", "?page=-1", "?show=x"])
def test_absurd_queries_are_ignored(alice: Client, problem: Problem, query: str) -> None:
    page(alice, f"/problems/{query}")
    page(alice, f"/problems/{problem.pk}/{query}")


def test_a_failure_of_the_policy_host_names_its_domain_and_no_mx() -> None:
    text = " ".join(explain_cause("sts-policy-fetch-error", "mta-sts.example.test").steps)
    assert "example.test" in text
    assert "mta-sts.mta-sts" not in text


def test_one_cause_is_one_line_however_many_domains_it_touches(
    rita: Client, organisation: Organisation
) -> None:
    domains = make_domains(organisation, [f"d{n:02}.test" for n in range(60)])
    report_failures(domains, DAY, "google.test", failed=2)
    with clock.frozen(NOON):
        assess([domain.pk for domain in domains], Problems())
    problem = Problem.objects.get()
    shown = page(rita, "/problems/")
    assert shown.count('class="row-link"') == 1
    assert '<td class="number" data-label="Domains">60</td>' in shown
    assert "/domains/d55.test/" not in page(rita, f"/problems/{problem.pk}/")
    assert "/domains/d55.test/" in page(rita, f"/problems/{problem.pk}/?page=2")


def test_what_one_reporter_alone_tells_besides_is_said(
    rita: Client, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_ALONE", 2)
    for number in range(5):
        report_failures(
            [domain],
            DAY + timedelta(days=number % 2),
            f"a{number}.liar.test",
            failed=60,
            host=f"mx{number}.test",
        )
    with clock.frozen(NOON):
        assess([domain.pk], Problems())
        shown = page(rita, "/problems/")
        assert shown.count('class="row-link"') == 2
        assert "Up to 3 more like these from liar.test alone." in shown
        assert "more like these" not in page(rita, "/problems/?show=closed")


def test_an_organisation_without_problems_is_told_what_that_means(rita: Client, domain: Domain) -> None:
    assert "Neither counted reports nor our checks show anything new" in page(rita, "/problems/")
    assert "No problem is over yet" in page(rita, "/problems/?show=closed")
    domain.delete()
    assert "Add one first" in page(rita, "/problems/")


def test_each_reporter_leads_to_its_reports(alice: Client, problem: Problem, domain: Domain) -> None:
    report_failures([domain], DAY, "google.com")
    page = alice.get(f"/problems/{problem.pk}/").content.decode()
    assert 'href="/reports/?reporter=google.com&amp;failed=1"' in page


@pytest.mark.parametrize(
    ("mode", "words"), [("testing", "deliver all the same"), ("enforce", "do not deliver")]
)
def test_the_overview_says_what_a_problem_does_to_mail(
    alice: Client, problem: Problem, domain: Domain, mode: str, words: str
) -> None:
    policy = Policy(Mode(mode), 86_400, ("mx1.example.net",))
    publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)
    assert f"senders that follow it {words}" in alice.get("/domains/example.test/").content.decode()


@pytest.mark.parametrize(
    ("cause", "page_there"),
    [
        ("mx-follow-held", "mx"),
        ("mx-host-left", "mx"),
        ("certificate-not-issued", "setup"),
        ("hosted-policy-id", "setup"),
        ("refusals-jumped", "rollout"),
        ("mx-not-in-policy", "checks"),
    ],
)
def test_a_domain_of_a_problem_leads_to_the_page_where_more_of_it_stands(
    rita: Client, problem: Problem, domain: Domain, cause: str, page_there: str
) -> None:
    Problem.objects.filter(pk=problem.pk).update(result_type=cause)
    ProblemDomain.objects.update(is_checked=True)
    assert f'class="row-link" href="/domains/{domain.name}/{page_there}/"' in page(
        rita, f"/problems/{problem.pk}/"
    )


def test_an_mx_change_that_is_held_says_why_and_leads_to_the_page_mx(
    rita: Client, problem: Problem, domain: Domain
) -> None:
    Problem.objects.filter(pk=problem.pk).update(result_type="mx-follow-held", host="mx9.example.net")
    ProblemDomain.objects.update(is_checked=True)
    MxChange.objects.create(
        organisation=domain.organisation,
        domain=domain,
        kind="appeared",
        subject="mx9.example.net",
        patterns=["mx9.example.net"],
        state="waiting",
        noticed_at=clock.now(),
        held_since=clock.now(),
        is_told=True,
        detail="its certificate <b>expired</b>",
    )
    shown = page(rita, f"/problems/{problem.pk}/")
    assert "Why it is held" in shown
    assert f'On the page MX of <a href="/domains/{domain.name}/mx/">' in shown
    assert "its certificate &lt;b&gt;expired&lt;/b&gt;" in shown
