"""What nodes serve changes with the commit, not with the next look."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from django.db import connection, transaction

from mailward.hosting import notices
from mailward.hosting.notices import Notices
from mailward.store.aio import in_store
from mailward.store.services.hosting import bump_generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Notices]:
    """Nobody looks without a notice here."""
    monkeypatch.setattr(notices, "LISTENING_POLL_SECONDS", 600.0)
    one = Notices()
    task = asyncio.create_task(one.listen())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _wait(one: Notices, event: asyncio.Event) -> None:
    """For a notice that came while it listened; a connection that breaks says so as well."""
    async with asyncio.timeout(20):
        await event.wait()
        event.clear()
        while one.poll_seconds != 600.0:
            await event.wait()
            event.clear()


def _bump_and_roll_back() -> None:
    with transaction.atomic():
        bump_generation()
        transaction.set_rollback(True)


def _cut() -> int:
    """End everybody's connection but ours, as a restart does. Returns how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"
        )
        return int(cursor.fetchone()[0])


async def test_a_commit_wakes_who_follows_and_a_rollback_does_not(listening: Notices) -> None:
    event = listening.subscribe()
    await _wait(listening, event)  # the first look, once it listens
    await in_store(_bump_and_roll_back)
    await in_store(bump_generation)
    await _wait(listening, event)
    await asyncio.sleep(0)
    assert not event.is_set(), "one commit, one notice"


async def test_a_connection_that_breaks_is_made_again_and_nothing_is_missed(listening: Notices) -> None:
    event = listening.subscribe()
    await _wait(listening, event)
    assert await in_store(_cut) == 1
    await in_store(bump_generation)
    await _wait(listening, event)


async def test_while_nobody_can_listen_the_database_is_asked_often(
    listening: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = listening.subscribe()
    await _wait(listening, event)

    async def refuse(*_args: object, **_kwargs: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)
    await in_store(_cut)
    async with asyncio.timeout(20):
        await event.wait()
    assert listening.poll_seconds == notices.POLL_SECONDS
