from datetime import timedelta

import pytest
from tests.fakes.arrivals import NOON, UNVERIFIED, arrive_raw

from mailward.core.tlsrpt.deviations import DEVIATIONS, Level
from mailward.ingest.addresses import address_of_organisation
from mailward.store.models import Domain, Door, User
from mailward.store.queries import quarantine as read
from mailward.store.scope import Scope, scope_of

pytestmark = pytest.mark.django_db
NOT_A_REPORT = b"Subject: hello\r\n\r\nNothing in it.\r\n"


@pytest.fixture
def scope(alice_user: User) -> Scope:
    scope = scope_of(alice_user)
    assert scope
    return scope


def test_a_row_says_why_and_where_from(scope: Scope, domain: Domain) -> None:
    stored = arrive_raw(domain, b"no JSON at all", None, door=Door.HTTPS, name="x.json")
    (row,) = read.list_quarantined(scope).rows
    assert (row.id, row.reason, row.door_label, row.name) == (
        stored.quarantine_id,
        "not-json",
        "HTTPS",
        "x.json",
    )
    assert (row.size, row.domain, row.received_at, row.read_again_at) == (14, "example.test", NOON, None)
    assert row.reason_text == DEVIATIONS["not-json"].text


def test_what_came_to_the_organisation_names_no_domain(scope: Scope, domain: Domain) -> None:
    arrive_raw(address_of_organisation(domain.organisation_id), NOT_A_REPORT, UNVERIFIED)
    assert read.list_quarantined(scope).rows[0].domain is None


def test_the_newest_comes_first_page_by_page(
    scope: Scope, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "PAGE_ROWS", 2)
    found = [
        arrive_raw(domain, NOT_A_REPORT, UNVERIFIED, at=NOON + timedelta(hours=hour)).quarantine_id
        for hour in range(3)
    ]
    first, last = read.list_quarantined(scope), read.list_quarantined(scope, page=99)
    assert [row.id for row in (*first.rows, *last.rows)] == found[::-1]
    assert (first.number, last.number, last.pages, last.total) == (1, 2, 2, 3)


def test_every_reason_that_we_give_is_said_in_words() -> None:
    reasons = [slug for slug, info in DEVIATIONS.items() if info.level is Level.REJECT]
    unknown = read.explain_reason("from-a-later-version")
    assert reasons
    assert not [slug for slug in (*reasons, "reader-failed") if read.explain_reason(slug) == unknown]


def test_a_stranger_sees_none_of_it(charlie_user: User, domain: Domain) -> None:
    stored, stranger = arrive_raw(domain, NOT_A_REPORT, UNVERIFIED), scope_of(charlie_user)
    assert stranger
    assert stored.quarantine_id
    assert read.list_quarantined(stranger).rows == ()
    assert read.find_quarantined(stranger, stored.quarantine_id) is None
