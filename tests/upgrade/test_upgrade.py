"""A new release takes the place of the one that runs, while the world goes on asking; and the way back."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.upgrade.installation import PREVIOUS, Installation, next_release, previous_release, this_release
from tests.upgrade.load import Load

_log = logging.getLogger(__name__)
"""`--log-cli-level=INFO` shows how long one had to wait."""


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.kill()


@pytest.mark.timeout(1200)
async def test_with_sockets_that_stay_nobody_notices_the_next_release(
    installation: Installation, tmp_path: Path
) -> None:
    this, following = this_release(), next_release(tmp_path)
    installation.prepare(this)
    installation.publish(this, 1)
    load = Load([installation])
    with installation.holding():
        async with load.going_on():
            await installation.start(this)  # its first start: nothing is saved that it could serve
            await load.enough()
            load.forget_waits()
            await installation.stop()
            await installation.start(following)
            await load.enough()
        await installation.stop()
    _log.info(load.told)
    assert load.failures == [], load.told
    assert load.acknowledged - installation.stored() == set()
    assert "of_the_next_release" in columns(installation)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_from_the_previous_release_and_back_nothing_acknowledged_is_lost(
    installation: Installation, tmp_path: Path
) -> None:
    previous, this = previous_release(tmp_path), this_release()
    installation.prepare(previous)
    installation.publish(previous, 1)
    load = Load([installation], udp_seconds=3)
    await installation.start(previous)
    await load.until_served()
    async with load.going_on():
        await load.enough()
        assert load.failures == []
        await installation.stop()
        # its sockets went with it: until new ones are there, who comes is refused, and comes again
        with installation.holding():
            refused = len(load.failures)
            await installation.start(this)
            await load.enough()
            assert load.failures[refused + 5 :] == []  # at most one of each kind was under way
            _log.info(
                "%s to this release: %s; refused for %.1f s", previous.name, load.told, load.refused_for
            )
            started = await asyncio.to_thread(installation.run, previous, "-m", "mailward", "_prepare")
            assert (started.returncode, "was changed by a newer Mailward" in started.stderr) == (2, True)
            await installation.stop()
        assert load.acknowledged - installation.stored() == set()
        load.forget_waits()
        migrate = ("-m", "mailward", "database", "migrate", "--to", PREVIOUS[0])
        back = await asyncio.to_thread(installation.run, this, *migrate)
        assert back.returncode == 0, back.stderr
        await installation.start(previous)
        gaps = len(load.failures)
        await load.enough()
        assert load.failures[gaps + 5 :] == []
    await installation.stop()
    _log.info("and back: %s", load.told)
    # 0.1.0 hangs up, or says so (421), on whom it has let in; nobody is answered that something is wrong
    assert [text for text in load.failures if "Failed" in text and "Failed 421" not in text] == []
    assert load.acknowledged - installation.stored() == set()


def columns(installation: Installation) -> set[str]:
    database = sqlite3.connect(installation.data / "mailward.sqlite3")
    try:
        return {row[1] for row in database.execute("PRAGMA table_info(store_domain)")}
    finally:
        database.close()
