"""Counting who fetches: nothing is lost or counted twice, whatever the database does, and memory is bounded."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from mailward.hosting import fetchcounts
from mailward.hosting.fetchcounts import FetchCounter, network_of
from mailward.net import clock
from mailward.store.services.fetches import FetchCount

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOST = "mta-sts.example.test"


class Database:
    """Takes batches, or is away after so many."""

    def __init__(self) -> None:
        self.booked: list[FetchCount] = []
        self.batches_left = 1_000_000

    def book(self, counts: Sequence[FetchCount]) -> int:
        if not self.batches_left:
            raise OperationalError("gone")
        self.batches_left -= 1
        self.booked += counts
        return len(counts)

    @property
    def total(self) -> int:
        return sum(count.fetches for count in self.booked)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def counter(database: Database) -> FetchCounter:
    return FetchCounter(database.book)


async def test_requests_of_one_client_are_one_count(counter: FetchCounter, database: Database) -> None:
    for minutes in (0, 5, 10):
        with clock.frozen(NOON + timedelta(minutes=minutes)):
            counter.count(HOST, "Google-SMTP-STS", f"192.0.2.{minutes}", 200)
    await counter.flush()
    last = NOON + timedelta(minutes=10)
    row = ("example.test", NOON.date(), "google", "google-smtp-sts", "192.0.2.0/24", 200, 3, NOON, last)
    assert database.booked == [FetchCount(*row)]
    await counter.flush()
    assert database.total == 3


async def test_midnight_parts_two_days(counter: FetchCounter, database: Database) -> None:
    for hours in (11, 12):
        with clock.frozen(NOON + timedelta(hours=hours)):
            counter.count(HOST, "", "2001:db8:1:2::3", 200)
    await counter.flush()
    assert [count.day.day for count in database.booked] == [24, 25]


async def test_counts_wait_while_the_database_is_away_and_are_written_once(
    counter: FetchCounter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetchcounts, "_BATCH", 2)
    database.batches_left = 1  # it goes away in the middle of a flush
    for number in range(5):
        counter.count(f"mta-sts.d{number}.test", "", "192.0.2.1", 200)
    await counter.flush()
    assert database.total == 2
    counter.count("mta-sts.d4.test", "", "192.0.2.1", 200)
    await counter.flush()
    database.batches_left = 100
    await counter.flush()
    assert database.total == 6
    assert max(count.fetches for count in database.booked) == 2


async def test_a_flood_of_names_is_counted_with_less_detail(
    counter: FetchCounter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetchcounts, "MAX_COUNTED", 100)
    monkeypatch.setattr(fetchcounts, "MAX_WAITING_A_DOMAIN", 10)
    for number in range(1000):
        counter.count(HOST, f"agent{number}/1", f"10.0.{number % 250}.1", 200)
    assert len(counter._seen) == 101
    await counter.flush()
    assert len(database.booked) == 11
    assert database.total == 1000


async def test_while_the_database_is_away_for_long_memory_stays_bounded(
    counter: FetchCounter,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fetchcounts, "MAX_WAITING", 50)
    caplog.set_level("INFO")
    database.batches_left = 0
    for round_ in range(10):
        for number in range(20):
            counter.count(f"mta-sts.d{number + 10 * round_}.test", "", "192.0.2.1", 200)
        await counter.flush()
    database.batches_left = 100
    await counter.flush()
    assert (
        database.total == 90
    )  # what is known counts on: 20 + 4 rounds with 10 old and 10 new, less the last
    events = [record.getMessage() for record in caplog.records]
    assert events == ["fetches-not-written", "fetches-written"]
    assert vars(caplog.records[1])["dropped"] == 110


async def test_the_last_counts_are_written_when_the_host_ends(
    counter: FetchCounter, database: Database
) -> None:
    following = asyncio.create_task(counter.follow())
    await asyncio.sleep(0)
    counter.count(HOST, "", "192.0.2.1", 200)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    counter._thread.shutdown(wait=True)
    assert database.total == 1


async def test_clients_without_a_known_name_are_named_by_their_address(database: Database) -> None:
    asked: list[str] = []

    async def reverse_name(address: str) -> str:
        asked.append(address)
        return {"192.0.2.7": "mail-a.google.com.", "198.51.100.1": "host.example.test."}.get(address, "")

    counter = FetchCounter(database.book, reverse_name)
    for address in ("192.0.2.7", "192.0.2.8", "198.51.100.1"):
        counter.count(HOST, "", address, 200)
    counter.count(HOST, "curl/8", "192.0.2.9", 200)
    await counter.flush()
    counter.count(HOST, "", "192.0.2.7", 200)
    await counter.flush()
    found = [(count.fetcher, count.network, count.fetches) for count in database.booked]
    assert sorted(found) == [
        ("", "198.51.100.0/24", 1),
        ("curl", "192.0.2.0/24", 1),
        ("google", "192.0.2.0/24", 1),
        ("google", "192.0.2.0/24", 2),
    ]
    assert asked == ["192.0.2.7", "198.51.100.1"]


async def test_slow_dns_holds_no_count_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetchcounts, "_NAMING_SECONDS", 0.05)

    async def never(_address: str) -> str:
        await asyncio.sleep(60)
        return ""

    counter = FetchCounter(database.book, never)
    counter.count(HOST, "", "192.0.2.7", 200)
    await counter.flush()
    assert database.total == 1


NETWORKS = [
    ("192.0.2.77", "192.0.2.0/24"),
    ("::ffff:192.0.2.77", "192.0.2.0/24"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    ("2001:db8::1", "2001:db8::/48"),
    ("fe80::1%eth0", "fe80::/48"),
    ("::1", "::/48"),
    ("", ""),
    ("unix", ""),
]


@pytest.mark.parametrize("address, network", NETWORKS)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network
