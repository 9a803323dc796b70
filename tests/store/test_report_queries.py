from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tests.fakes.arrivals import FAILED, NOON, UNVERIFIED, arrive, post
from tests.plans import plan_of, reads, sorts

from mailward.ingest.addresses import address_of_organisation
from mailward.store.models import Domain, Trust, User
from mailward.store.queries import reports as read
from mailward.store.queries.reports import Filters, Tab
from mailward.store.scope import Scope, scope_of

pytestmark = pytest.mark.django_db
OTHER = "elsewhere.test"


@pytest.fixture
def scope(alice_user: User) -> Scope:
    scope = scope_of(alice_user)
    assert scope
    return scope


@pytest.fixture
def second(domain: Domain) -> Domain:
    return Domain.objects.create(
        organisation=domain.organisation, name="second.test", report_token="dom-second", claim_token="c"
    )


def ids(scope: Scope, **filters: object) -> list[int]:
    return [row.id for row in read.list_reports(scope, Filters(**filters)).rows]  # type: ignore[arg-type]  # by name


def test_a_row_says_what_the_list_shows(scope: Scope, domain: Domain) -> None:
    number = arrive(domain)
    (row,) = read.list_reports(scope, Filters()).rows
    assert (row.id, row.reporter, row.organization_name) == (number, "google.test", "Google Inc.")
    assert (row.domain, row.ok, row.failed, row.sessions) == ("example.test", 100, 3, 103)
    assert (row.trust, row.counted, row.copies, row.received_at) == (Trust.VERIFIED, True, 1, NOON)


def test_each_tab_shows_its_reports_the_newest_first(scope: Scope, domain: Domain) -> None:
    first, second = arrive(domain, report_id="1"), arrive(domain, report_id="2")
    unsigned = arrive(domain, UNVERIFIED, report_id="3")
    foreign = arrive(domain, report_id="4", policy_domain=OTHER)
    assert ids(scope) == [second, first]
    assert ids(scope, tab=Tab.NOT_COUNTED) == [unsigned]
    assert ids(scope, tab=Tab.FOREIGN) == [foreign]
    assert ids(scope, tab=Tab.ALL) == [foreign, unsigned, second, first]
    assert read.count_tabs(scope) == read.TabCounts(not_counted=1, foreign=1)


def test_a_domain_has_its_own_and_the_foreign_ones_that_came_to_it(
    scope: Scope, domain: Domain, second: Domain
) -> None:
    mine, theirs = arrive(domain), arrive(second, policy_domain="second.test")
    foreign = arrive(second, policy_domain=OTHER)
    assert ids(scope, domain=domain, tab=Tab.ALL) == [mine]
    assert ids(scope, domain=second) == [theirs]
    assert ids(scope, domain=second, tab=Tab.FOREIGN) == [foreign]
    assert ids(scope, domain=domain, tab=Tab.FOREIGN) == []
    assert read.count_tabs(scope, domain) == read.TabCounts(0, 0)


def test_filters_narrow_together(scope: Scope, domain: Domain) -> None:
    bad = arrive(domain, report_id="2026_a")
    good = arrive(domain, report_id="2026_b", failed=0)
    test = arrive(domain, FAILED, report_id="2025_c", contact="x@mail.test")
    assert ids(scope, failed_only=True) == [bad]
    assert ids(scope, report_id="2026_") == [good, bad]
    assert ids(scope, report_id="2026_", failed_only=True, reporter="google.test") == [bad]
    assert ids(scope, tab=Tab.ALL, reporter="mail.test") == [test]
    assert ids(scope, tab=Tab.ALL, trust=Trust.FAILED) == [test]


@pytest.mark.parametrize("prefix", ["%", "_", "2026%", "\U0010ffff", "'", "2026-11-23T00:00:00z"])
def test_a_prefix_is_no_pattern(scope: Scope, domain: Domain, prefix: str) -> None:
    arrive(domain)
    assert ids(scope, report_id=prefix) == []


def test_pages_lead_back_and_forth_without_gaps(scope: Scope, domain: Domain) -> None:
    def page(**place: int | None) -> read.ReportPage:
        return read.list_reports(scope, Filters(), rows=2, **place)

    all_ids = [arrive(domain, report_id=str(number)) for number in range(5)][::-1]
    first = page()
    middle = page(before=first.older)
    last = page(before=middle.older)
    assert [row.id for each in (first, middle, last) for row in each.rows] == all_ids
    assert (first.newer, last.older) == (None, None)
    again = page(after=last.newer)
    assert again.rows == middle.rows
    assert page(after=again.newer) == first


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(), "report_by_arrival"),
        (Filters(tab=Tab.ALL), "report_by_arrival"),
        (Filters(tab=Tab.FOREIGN), "report_by_domain"),
        # rare among many, so an index of all would be read to its end
        (Filters(tab=Tab.NOT_COUNTED), "report_not_counted_anywhere"),
        (Filters(tab=Tab.NOT_COUNTED, trust=Trust.PENDING), "report_not_counted_anywhere"),
        (Filters(failed_only=True), "report_with_failures_anywhere"),
        (Filters(reporter="nobody.test"), "report_by_reporter"),
    ],
)
def test_no_list_reads_or_sorts_what_it_does_not_show(scope: Scope, filters: Filters, index: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        read.list_reports(scope, filters)
    plan = plan_of(queries[-1]["sql"])
    assert reads(plan, index), plan
    assert not sorts(plan), plan


def test_a_short_prefix_finds_the_first_by_id(
    scope: Scope, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MOST_NAMED", 2)
    found = {name: arrive(domain, report_id=name) for name in ("2026_c", "2026_a", "2026_b")}
    assert ids(scope, report_id="2026") == [found["2026_b"], found["2026_a"]]
    assert ids(scope, report_id="2026_c") == [found["2026_c"]]
    assert len(ids(scope, report_id="2026", domain=domain)) == 3


def test_a_page_beyond_the_last_is_empty(scope: Scope, domain: Domain) -> None:
    number = arrive(domain)
    assert read.list_reports(scope, Filters(), before=number) == read.ReportPage((), None, None)
    assert read.list_reports(scope, Filters(), after=2**63 - 1).rows == ()


def test_a_report_comes_with_copies_and_with_others_under_its_id(scope: Scope, domain: Domain) -> None:
    number = arrive(domain)
    assert post(domain, at=NOON + timedelta(hours=1)) == number
    forged = arrive(domain, UNVERIFIED, successful=999)
    detail = read.find_report(scope, number)
    assert detail
    assert detail.row.copies == 2
    assert [(each.door, each.trust) for each in detail.receipts] == [("https", "unverified")]
    assert [(row.id, row.ok) for row in detail.siblings] == [(forged, 999)]
    assert (detail.report.organization_name, detail.own) == ("Google Inc.", (0,))


def test_the_same_id_at_another_domain_is_another_report(
    scope: Scope, domain: Domain, second: Domain
) -> None:
    number = arrive(domain, report_id="same")
    arrive(second, report_id="same", policy_domain="second.test")
    detail = read.find_report(scope, number)
    assert detail
    assert detail.siblings == ()


def test_what_came_to_the_organisation_is_listed_with_its_domain(
    scope: Scope, domain: Domain, second: Domain
) -> None:
    number = arrive(address_of_organisation(domain.organisation_id), policy_domain="second.test")
    assert ids(scope, domain=second) == [number]
    foreign = arrive(address_of_organisation(domain.organisation_id), policy_domain=OTHER)
    assert ids(scope, tab=Tab.FOREIGN) == [foreign]


def test_a_stranger_sees_none_of_it(charlie_user: User, domain: Domain) -> None:
    number, stranger = arrive(domain), scope_of(charlie_user)
    assert stranger
    assert ids(stranger, tab=Tab.ALL) == []
    assert ids(stranger, tab=Tab.ALL, domain=domain) == []
    assert read.find_report(stranger, number) is None
    assert read.count_tabs(stranger) == read.TabCounts(0, 0)
