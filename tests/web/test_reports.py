"""The lists of reports, as their people see them."""

import pytest
from django.test import Client
from tests.fakes.arrivals import FAILED, UNVERIFIED, arrive

from mailward.store.models import Domain
from mailward.store.queries.reports import PAGE_ROWS


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_each_tab_shows_its_own_reports(alice: Client, domain: Domain) -> None:
    counted, unsigned = arrive(domain), arrive(domain, UNVERIFIED, report_id="2")
    foreign = arrive(domain, report_id="3", policy_domain="elsewhere.test")
    shown = {
        tab: {each for each in (counted, unsigned, foreign) if f"/reports/{each}/" in page(alice, address)}
        for tab, address in {
            "counted": "/reports/",
            "not counted": "/reports/?show=not-counted",
            "foreign": "/domains/example.test/reports/?show=foreign",
            "all": "/reports/?show=all",
        }.items()
    }
    assert shown == {
        "counted": {counted},
        "not counted": {unsigned},
        "foreign": {foreign},
        "all": {counted, unsigned, foreign},
    }


def test_the_overview_says_of_one_and_of_many_why_they_are_not_counted(alice: Client, domain: Domain) -> None:
    arrive(domain)
    for number, words in ((2, "a test, or nobody vouches for it"), (3, "tests, or nobody vouches for them")):
        arrive(domain, UNVERIFIED, report_id=str(number))
        assert words in page(alice, "/domains/example.test/?end=2026-11-23")


def test_filters_come_from_the_address_and_stay_in_the_form(rita: Client, domain: Domain) -> None:
    arrive(domain, report_id="2026_a")
    shown = page(rita, "/reports/?reporter=google.test&id=2026_&failed=1&domain=example.test")
    assert all(f'value="{text}"' in shown for text in ("google.test", "2026_", "example.test"))
    assert "Google Inc." in shown
    assert "No report fits" in page(rita, "/reports/?reporter=nobody.test")


def test_a_domain_that_is_not_ours_is_said_to_be_none(charlie: Client, domain: Domain) -> None:
    arrive(domain)
    shown = page(charlie, "/reports/?domain=example.test")
    assert "example.test is not one of your domains" in shown
    assert "Google" not in shown


def test_older_and_newer_pages_are_linked(alice: Client, domain: Domain) -> None:
    ids = [arrive(domain, report_id=str(number)) for number in range(PAGE_ROWS + 1)]
    assert f"?before={ids[1]}" in page(alice, "/reports/")
    oldest = page(alice, f"/reports/?before={ids[1]}")
    assert f"/reports/{ids[0]}/" in oldest
    assert f"?after={ids[0]}" in oldest


@pytest.mark.parametrize(
    "query",
    [
        "?show=x",
        "?before=-1",
        "?before=9999999999999999999999",
        "?after=x",
        "?trust=x",
        "?id=%00",
        "?domain=%00",
        "?before=1&after=1",
        "?reporter=%ff%fe",
        "?id=%F4%8F%BF%BF",
        "?id=" + "x" * 5000,
        "?show=&id=&domain=&trust=&failed=",
    ],
)
def test_absurd_queries_are_ignored(alice: Client, domain: Domain, query: str) -> None:
    arrive(domain)
    page(alice, f"/reports/{query}")
    page(alice, f"/domains/example.test/reports/{query}")


def test_empty_lists_say_what_to_do_next(alice: Client, domain: Domain) -> None:
    assert "/domains/example.test/setup/" in page(alice, "/domains/example.test/reports/")
    assert "All reports are counted" in page(alice, "/reports/?show=not-counted")
    assert "No foreign report" in page(alice, "/reports/?show=foreign")


def test_an_organisation_without_domains_is_sent_to_add_one(alice: Client) -> None:
    assert "/domains/add/" in page(alice, "/reports/")


def test_strings_of_strangers_are_escaped(alice: Client, domain: Domain) -> None:
    evil = "<script>alert(1)</script>"
    arrive(domain, FAILED, organization=evil, report_id=evil)
    shown = page(alice, "/reports/?show=all")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown


def test_pages_keep_what_the_list_was_narrowed_to(rita: Client, domain: Domain) -> None:
    ids = [arrive(domain, report_id=f"2026_{at}") for at in range(PAGE_ROWS + 1)]
    assert f"?failed=1&amp;id=2026&amp;before={ids[1]}" in page(rita, "/reports/?failed=1&id=2026")
    oldest = page(rita, f"/reports/?failed=1&id=2026&before={ids[1]}")
    assert f"?failed=1&amp;id=2026&amp;after={ids[0]}" in oldest


def test_there_is_nothing_to_filter_by_before_the_first_report(alice: Client, domain: Domain) -> None:
    assert "Report id begins with" not in page(alice, "/reports/")
    assert "Report id begins with" in page(alice, "/reports/?reporter=nobody.test")
    arrive(domain)
    assert "Report id begins with" in page(alice, "/reports/")
