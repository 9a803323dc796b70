"""A locked database or a full disk: 451 and 503, nothing half stored, and the sender's retry succeeds."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from django.db import connection
from tests.databases import held_writes
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import House, json_body
from tests.settings import IS_POSTGRESQL

from mailward.ingest.errors import StoreBusy
from mailward.ingest.writer import MAX_WAITING, Writer
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain, Door, QuarantinedMessage, Report, Trust
from mailward.store.services.incoming import Incoming, Judgement, Stored
from mailward.store.services.reports import store_batch

pytestmark = pytest.mark.usefixtures("domain")

MAIL = google_mail(report_json())
BODY = json_body(report_json(report_id="by https"))


@pytest.fixture
def impatient(settings: object) -> None:
    """A busy timeout that tests can wait for; PostgreSQL's is in tests/postgresql.py."""
    if not IS_POSTGRESQL:
        connection.settings_dict["OPTIONS"]["timeout"] = 0.2


@pytest.fixture(autouse=True)
def _patient_again() -> object:
    before = dict(connection.settings_dict["OPTIONS"])
    yield
    connection.settings_dict["OPTIONS"] = before


@pytest.fixture
async def locked(house: House) -> AsyncIterator[Callable[[], None]]:
    """Somebody else holds what is to be written, until this is called."""
    with held_writes() as let_go:
        yield let_go


async def test_a_locked_database_gives_451_and_503_and_the_retry_succeeds(
    impatient: None, house: House, locked: Callable[[], None]
) -> None:
    assert (await house.mail(MAIL)).startswith("451")
    assert await house.post(BODY) == 503
    assert await in_store(Report.objects.count) == 0
    locked()
    assert (await house.mail(MAIL)).startswith("250")
    assert await house.post(BODY) == 201
    assert await in_store(Report.objects.count) == 2


async def test_a_database_that_is_back_is_said_to_be_before_another_report_comes(
    impatient: None,
    house: House,
    locked: Callable[[], None],
    domain: Domain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mailward.ingest.writer.LOOK_AGAIN_SECONDS", 0.05)
    writer = Writer()
    with pytest.raises(StoreBusy):
        await writer.submit(_incoming(domain, 1))
    told = [writer.database_ok]
    locked()
    async with asyncio.timeout(10):
        while not writer.database_ok:  # noqa: ASYNC110 - a thread's, without an event
            await asyncio.sleep(0.02)
    assert told == [False]
    assert (await writer.submit(_incoming(domain, 1))).quarantine_id
    await writer.close()


def _limit_pages(writable: bool) -> None:
    """max_page_count is what a full disk looks like to SQLite: "database or disk is full"."""
    with connection.cursor() as cursor:
        if not writable:
            cursor.execute("VACUUM")  # what earlier tests freed is room as well
        cursor.execute("PRAGMA page_count")
        pages = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count={pages + 1_000_000 if writable else pages}")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """While `full` is set, the writer's connection finds no room for another page."""
    state = {"full": True}

    def store(items: list[Incoming]) -> list[Stored]:
        _limit_pages(not state["full"])
        return store_batch(items)

    monkeypatch.setattr("mailward.ingest.writer.store_batch", store)
    return state


@pytest.mark.sqlite
async def test_a_full_disk_gives_451_and_503_and_the_retry_succeeds(
    house: House, full_disk: dict[str, bool]
) -> None:
    large = google_mail(report_json(organization="x" * 100_000), compressed=False)
    assert (await house.mail(large)).startswith("451")
    assert await house.post(json_body(report_json(organization="x" * 100_000))) == 503
    assert await in_store(Report.objects.count) == 0
    full_disk["full"] = False
    assert (await house.mail(large)).startswith("250")
    assert await in_store(Report.objects.count) == 1


def _incoming(domain: Domain, number: int) -> Incoming:
    return Incoming(
        organisation_id=domain.organisation_id,
        address_domain_id=domain.pk,
        door=Door.SMTP,
        content=f"{number}".encode(),
        received_at=clock.now(),
        judgement=Judgement(Trust.UNVERIFIED),
        unreadable=("no-report", f"{number}"),
    )


async def test_many_at_once_are_one_commit_and_each_is_answered(
    transactional_db: None, domain: Domain
) -> None:
    writer = Writer()
    results = await asyncio.gather(*(writer.submit(_incoming(domain, number)) for number in range(300)))
    await writer.close()
    assert len({stored.quarantine_id for stored in results}) == 300
    assert await in_store(QuarantinedMessage.objects.count) == 300


async def test_a_writer_that_is_closed_writes_what_it_took_and_takes_no_more(
    transactional_db: None, domain: Domain
) -> None:
    writer = Writer()
    taken = asyncio.ensure_future(writer.submit(_incoming(domain, 1)))
    await asyncio.sleep(0)
    await writer.close()
    assert (await taken).quarantine_id
    with pytest.raises(StoreBusy):
        await writer.submit(_incoming(domain, 2))


async def test_more_than_can_wait_is_turned_away_at_once(
    impatient: None, house: House, locked: Callable[[], None], domain: Domain
) -> None:
    writer = Writer()
    waiting = [asyncio.ensure_future(writer.submit(_incoming(domain, n))) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy, match="too much is waiting"):
        await writer.submit(_incoming(domain, MAX_WAITING))
    locked()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await writer.close()
    stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
    assert await in_store(QuarantinedMessage.objects.count) == len(stored)
    assert all(isinstance(outcome, Stored | StoreBusy) for outcome in outcomes)
