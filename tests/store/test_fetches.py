"""What policy hosts counted: booked once and added up, a tenant sees its own, tools are no evidence."""

from datetime import UTC, date, datetime, timedelta

import pytest

from mailward.net import clock
from mailward.store.models import DailyFetches, Domain, Organisation, PolicyVersion, Role, User
from mailward.store.queries.fetches import fetch_totals, fetchers
from mailward.store.scope import Scope
from mailward.store.services import fetches
from mailward.store.services.fetches import FetchCount, book_fetches, sweep_fetches

DAY = date(2026, 11, 24)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def scope(organisation: Organisation, alice_user: User) -> Scope:
    return Scope(organisation.pk, alice_user.pk, Role.OWNER)


@pytest.fixture
def hosted(domain: Domain) -> Domain:
    return host(domain)


def host(domain: Domain) -> Domain:
    domain.current_version = PolicyVersion.objects.create(
        organisation=domain.organisation,
        domain=domain,
        number=1,
        policy_id="1",
        mode="testing",
        max_age_seconds=86400,
    )
    domain.save()
    return domain


def count(
    number: int = 1,
    *,
    domain: str = "example.test",
    day: date = DAY,
    fetcher: str = "google",
    agent: str = "google-smtp-sts",
    network: str = "192.0.2.0/24",
    status: int = 200,
    hour: int = 12,
) -> FetchCount:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    return FetchCount(domain, day, fetcher, agent, network, status, number, at, at)


def test_counts_of_two_hosts_add_up_and_keep_the_first_and_the_last_moment(hosted: Domain) -> None:
    assert book_fetches([count(2, hour=10), count(1, hour=11, status=404)]) == 2
    book_fetches([count(3, hour=9)])
    book_fetches([count(4, hour=14)])
    row = DailyFetches.objects.get(status=200)
    assert (row.fetches, row.first_at.hour, row.last_at.hour) == (9, 9, 14)
    assert row.organisation_id == hosted.organisation_id


def test_what_is_not_hosted_is_dropped(hosted: Domain) -> None:
    assert book_fetches([count(domain="other.test")]) == 0
    assert not DailyFetches.objects.exists()


def test_of_two_claims_the_proved_one_gets_the_count(hosted: Domain, strangers: Organisation) -> None:
    proved = host(
        Domain.objects.create(
            organisation=strangers,
            name="example.test",
            report_token="theirs",
            claim_token="c",
            claim_verified_at=NOON,
        )
    )
    book_fetches([count()])
    assert DailyFetches.objects.get().domain_id == proved.pk


def test_the_totals_leave_out_tools_and_refusals_and_count_names(hosted: Domain) -> None:
    book_fetches(
        [
            count(5, hour=8),
            count(1, agent="other", hour=9),  # Google, by its address
            count(2, fetcher="", agent="exim", status=304, hour=10),
            count(7, fetcher="mailward", agent="mailward"),
            count(7, fetcher="curl", agent="curl"),
            count(7, fetcher="", agent="x", status=404),
            count(9, day=DAY - timedelta(days=8)),
        ]
    )
    totals = fetch_totals([hosted.pk, hosted.pk + 1], DAY - timedelta(days=7))
    assert list(totals) == [hosted.pk]
    found = totals[hosted.pk]
    assert (found.fetches, found.senders, found.first_at.hour, found.last_at.hour) == (8, 2, 8, 10)


def test_our_own_looks_that_name_no_program_are_no_senders(scope: Scope, hosted: Domain) -> None:
    """Each look fetches twice: by our name, and without any, as some senders do."""
    book_fetches(
        [
            count(3, fetcher="mailward", agent="mailward", network="203.0.113.0/24"),
            count(3, fetcher="", agent="", network="203.0.113.0/24"),
            count(1, fetcher="mailward", agent="", network=""),
        ]
    )
    assert fetch_totals([hosted.pk], DAY) == {}
    book_fetches([count(1, fetcher="", agent=""), count(1, fetcher="", agent="", network="")])
    assert fetch_totals([hosted.pk], DAY)[hosted.pk].fetches == 2
    rows = {(row.fetcher, row.agent): row.week for row in fetchers(scope, hosted.pk, DAY).rows}
    assert rows == {("mailward", ""): 7, ("", ""): 2}


def test_the_rows_are_of_a_week_and_a_month(scope: Scope, hosted: Domain) -> None:
    book_fetches(
        [
            count(1, network="198.51.100.0/24"),
            count(2, day=DAY - timedelta(days=6)),
            count(4, day=DAY - timedelta(days=7)),
            count(8, day=DAY - timedelta(days=29)),
            count(16, day=DAY - timedelta(days=30)),
            count(3, status=404),
            count(1, fetcher="", agent="exim"),
        ]
    )
    google, exim = fetchers(scope, hosted.pk, DAY).rows
    assert (google.fetcher, google.week, google.month, google.networks, google.refused) == (
        "google",
        3,
        15,
        2,
        3,
    )
    assert (exim.agent, exim.week, exim.month) == ("exim", 1, 1)


def test_a_stranger_sees_nothing(hosted: Domain, strangers: Organisation, charlie_user: User) -> None:
    book_fetches([count()])
    assert fetchers(Scope(strangers.pk, charlie_user.pk, Role.OWNER), hosted.pk, DAY).rows == ()


def test_old_days_are_thrown_away_a_few_domains_at_a_time(
    hosted: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(
        Domain.objects.create(
            organisation=hosted.organisation, name="b.test", report_token="b", claim_token="c"
        )
    )
    book_fetches(
        [count(day=DAY - timedelta(days=40)), count(domain="b.test", day=DAY - timedelta(days=41)), count()]
    )
    monkeypatch.setattr(fetches, "_SWEPT_AT_ONCE", 1)
    with clock.frozen(NOON):
        assert sweep_fetches(40)
        assert DailyFetches.objects.count() == 2
        assert not sweep_fetches(40)
    assert sorted(DailyFetches.objects.values_list("day", flat=True)) == [DAY - timedelta(days=40), DAY]


def test_beyond_a_days_rows_clients_are_not_kept_apart(
    hosted: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "MAX_ROWS_A_DAY", 3)
    book_fetches([count(network=f"192.0.{n}.0/24") for n in range(3)])
    book_fetches([count(network=f"198.51.{n}.0/24") for n in range(5)])
    book_fetches([count(day=DAY + timedelta(days=1))])
    rows = DailyFetches.objects.filter(day=DAY)
    assert rows.count() == 4
    assert rows.get(network="").fetches == 5
    assert DailyFetches.objects.filter(day=DAY + timedelta(days=1)).get().network
