"""The overview of a domain, as its people see it."""

from datetime import UTC, date, datetime

import pytest
from django.test import Client

from mailward.net import clock
from mailward.store.models import DailyFailures, DailyFetches, DailySessions, Domain
from mailward.store.queries.daily import Day, Timeline
from mailward.web.pages.reports.overview import judge

DAY = date(2026, 8, 1)
NOON = datetime(2026, 8, 2, 12, tzinfo=UTC)


def count(domain: Domain, kind: str, ok: int, failed: int) -> None:
    DailySessions.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        day=DAY,
        policy_type=kind,
        reporter="google.com",
        ok=ok,
        failed=failed,
        reports=1,
    )


def page(client: Client, query: str = "") -> str:
    with clock.frozen(NOON):
        response = client.get(f"/domains/example.test/{query}")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize(
    ("ok", "failed", "state", "title", "text"),
    [
        (53, 0, "ok", "Every session was encrypted", "all encrypted, none failed"),
        (95, 5, "bad", "5 of 100 sessions failed", "95.0 % encrypted, 5 failed"),
        (9_999, 1, "warn", "1 of 10,000 sessions failed", "99.9 % encrypted, 1 failed"),  # never 100 %
        (0, 0, "unknown", "No session was counted", "none held a number"),
    ],
)
def test_the_verdict_says_in_a_sentence_how_it_stands(
    ok: int, failed: int, state: str, title: str, text: str
) -> None:
    verdict = judge(Timeline("sts", (Day(DAY, ok, failed, 1),)), "In the last 30 days")
    assert (verdict.state, verdict.title) == (state, title)
    assert text in verdict.text


def test_sessions_of_two_policy_types_are_never_added(alice: Client, domain: Domain) -> None:
    count(domain, "sts", 95, 5)
    count(domain, "tlsa", 95, 5)
    shown = page(alice)
    assert "5 of 100 sessions failed" in shown
    assert "200" not in shown.split("chart-plot")[0].split("<main")[1]


def test_a_failure_names_its_host_and_what_to_do(rita: Client, domain: Domain) -> None:
    count(domain, "sts", 95, 5)
    DailyFailures.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        day=DAY,
        policy_type="sts",
        result_type="certificate-expired",
        host="mx1.example.test",
        reporter="google.com",
        sending_ip="192.0.2.10",
        sessions=5,
    )
    shown = page(rita)
    assert all(word in shown for word in ("mx1.example.test", "192.0.2.10", "google.com", "expired"))


def test_strings_of_strangers_are_escaped(alice: Client, domain: Domain) -> None:
    count(domain, "<script>alert(1)</script>", 1, 0)
    shown = page(alice)
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)" in shown


def test_without_reports_it_says_what_to_do_next(alice: Client, domain: Domain) -> None:
    shown = page(alice)
    assert "No counted report yet" in shown
    assert f"/domains/{domain.name}/setup/" in shown


def test_reports_of_older_days_are_one_click_away(alice: Client, domain: Domain) -> None:
    count(domain, "sts", 1, 0)
    with clock.frozen(datetime(2027, 8, 1, tzinfo=UTC)):
        shown = alice.get("/domains/example.test/").content.decode()
    assert "?end=2026-08-01" in shown


@pytest.mark.parametrize("query", ["?days=x", "?days=-1", "?end=9999-99-99", "?end=0001-01-01", "?type=%00"])
def test_absurd_queries_are_ignored(alice: Client, domain: Domain, query: str) -> None:
    count(domain, "sts", 1, 0)
    page(alice, query)


def test_a_stranger_finds_nothing(charlie: Client, domain: Domain) -> None:
    assert charlie.get(f"/domains/{domain.name}/").status_code == 404


def test_who_fetched_the_policy_is_told_as_they_call_themselves(rita: Client, domain: Domain) -> None:
    moment = clock.now()
    for fetcher, agent, status, number in (
        ("google", "google-smtp-sts", 200, 1234),
        ("", "exim&", 404, 5),
    ):
        DailyFetches.objects.create(
            organisation_id=domain.organisation_id, domain=domain, day=moment.date(), fetcher=fetcher, agent=agent,
            network="192.0.2.0/24", status=status, fetches=number, first_at=moment, last_at=moment,
        )  # fmt: skip
    text = page(rita)
    assert "Policy fetches" in text
    assert "1,234" in text
    assert "<code>exim&amp;</code>" in text
