"""Problems, as their people see them."""

from datetime import date, timedelta

import pytest
from django.test import Client

from mailward.net import clock
from mailward.store.models import Domain, Notification, Problem, ProblemDomain
from mailward.web.pages.problems.cause import explain_cause

DAY = date(2026, 11, 20)


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
