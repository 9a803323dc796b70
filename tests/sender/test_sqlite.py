import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from mailward.core.mtasts.decide import Cached, Failure
from mailward.core.mtasts.policy import Policy, parse_policy
from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.cache import CacheError, DamagedEntry, Entry
from mailward.sender.control import purge_domains
from mailward.sender.sqlite import MAX_VERSIONS, SqliteCache

T = 1_700_000_000
NAME = Domain("example.test")


def text(number: int = 1) -> Policy:
    return parse_policy(
        f"version: STSv1\nmode: enforce\nmx: mx{number}.example.test\nmax_age: 86400\nx: ü\n".encode()
    )


def entry(domain: str = NAME, *, fetched_at: int = T, number: int = 1) -> Entry:
    return Entry(Domain(domain), Cached(text(number), str(number), fetched_at), None, fetched_at + 86400 // 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache.sqlite3"


async def test_what_is_put_comes_back_after_a_restart_text_and_all(path: Path) -> None:
    kept = Entry(NAME, Cached(text(), "id1", T), Failure("id2", T + 5, 3, "timeout"), T + 7)
    cache = SqliteCache(path, 10)
    await cache.put(kept)
    await cache.close()
    cache = SqliteCache(path, 10)
    found = await cache.load(NAME)
    assert found == kept
    assert found is not None
    assert found.cached.policy.text == text().text
    assert await cache.load(Domain("other.test")) is None
    await cache.close()


async def test_it_is_on_disk_when_put_returns(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry())
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT domain FROM policy").fetchall() == [(NAME,)]
        [(synchronous,)] = other.execute("PRAGMA journal_mode").fetchall()
    other.close()
    assert synchronous == "wal"
    await cache.close()


async def test_history_has_each_new_text_and_ends_somewhere(path: Path) -> None:
    cache = SqliteCache(path, 10)
    for number in [*range(MAX_VERSIONS + 2), MAX_VERSIONS + 1]:
        await cache.put(entry(fetched_at=T + number, number=number))
    history = await cache.history(NAME)
    assert len(history) == MAX_VERSIONS
    assert (history[0].text, history[0].policy_id) == (text(MAX_VERSIONS + 1).text, str(MAX_VERSIONS + 1))
    await cache.close()


async def test_a_later_fetch_is_not_overwritten_but_one_in_the_future_is(path: Path) -> None:
    cache = SqliteCache(path, 10)
    future = int(clock.timestamp()) + 86_400
    assert await cache.put(entry(fetched_at=future, number=1)) is True
    assert await cache.put(entry(fetched_at=T + 10, number=2)) is True
    assert await cache.put(entry(fetched_at=T, number=3)) is False
    assert await cache.load(NAME) == entry(fetched_at=T + 10, number=2)
    assert [version.policy_id for version in await cache.history(NAME)] == ["2", "1"]
    await cache.close()


async def test_a_failure_is_noted_of_the_same_fetch_only(path: Path) -> None:
    cache = SqliteCache(path, 10)
    noted = replace(entry(), failure=Failure("1", T + 5, 1, "timeout"), refresh_at=T + 305)
    assert await cache.note(NAME, T, noted.failure, noted.refresh_at) is False
    await cache.put(entry())
    assert await cache.note(NAME, T, noted.failure, noted.refresh_at) is True
    assert await cache.load(NAME) == noted
    await cache.put(entry(fetched_at=T + 10))
    assert await cache.note(NAME, T, noted.failure, noted.refresh_at) is False
    assert await cache.load(NAME) == entry(fetched_at=T + 10)
    await cache.close()


async def test_what_is_written_late_undoes_no_purge(path: Path) -> None:
    cache = SqliteCache(path, 10)
    assert await cache.put_late(entry()) is True
    purge_domains(path, [NAME], T + 1)
    assert await cache.put_late(entry()) is False
    assert await cache.load(NAME) is None
    assert await cache.put_late(entry(fetched_at=T + 2)) is True
    await cache.close()


async def test_a_refresh_is_due_while_the_policy_lives(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry("b.test", fetched_at=T + 10))
    await cache.put(entry("a.test", fetched_at=T + 20))
    assert await cache.due(T + 43_209, 10) == []
    assert await cache.due(T + 43_220, 10) == ["b.test", "a.test"]
    assert await cache.due(T + 43_220, 1) == ["b.test"]
    assert await cache.due(T + 86_410, 10) == ["a.test"]
    await cache.close()


async def test_what_is_not_due_is_not_read_to_find_what_is(path: Path) -> None:
    """Asked every second, by each process, in the thread that answers."""
    cache = SqliteCache(path, 100_000)
    now = int(clock.timestamp())
    await asyncio.gather(*(cache.put(entry(f"d{number}.test", fetched_at=now)) for number in range(5_000)))
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    cache._reader.set_progress_handler(count, 100)
    assert await cache.due(now, 10) == []
    assert steps < 10
    await cache.close()


async def test_a_refresh_that_was_put_off_while_the_clock_was_ahead_is_due(path: Path) -> None:
    now = int(clock.timestamp())
    cache = SqliteCache(path, 10)
    await cache.put(replace(entry("a.test", fetched_at=now), refresh_at=now + 86_390))
    await cache.put(replace(entry("b.test", fetched_at=now), refresh_at=now + 30 * 86_400))
    assert await cache.due(now, 10) == ["b.test"]
    await cache.close()


async def test_ended_policies_are_evicted_first_then_unused_ones(path: Path) -> None:
    cache = SqliteCache(path, 4)
    await cache.put(entry("ended.test", fetched_at=T - 90_000))
    for name in ("unused.test", "used.test", "new.test"):
        await cache.put(entry(name, fetched_at=T))
    await cache.touch([Domain("used.test"), Domain("ended.test")], T + 100)
    cache._until_check = 1
    await cache.put(entry("newest.test", fetched_at=T + 200))
    left = [found.domain for found in await cache.listing()]
    assert left == ["new.test", "newest.test", "used.test"]
    assert await cache.history(Domain("ended.test")) == []
    await cache.close()


async def test_remove_forgets_history_too(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry())
    assert await cache.remove(NAME) is True
    assert await cache.remove(NAME) is False
    assert await cache.history(NAME) == []
    await cache.close()


async def test_many_writes_at_once_are_all_kept(path: Path) -> None:
    cache = SqliteCache(path, 5000)
    await asyncio.gather(*(cache.put(entry(f"d{number}.test")) for number in range(1200)))
    assert len(await cache.listing()) == 1200
    await cache.close()


async def test_a_write_that_fails_says_so_and_the_next_one_works(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry())
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("ALTER TABLE version RENAME TO away")
    with pytest.raises(CacheError, match="version"):
        await cache.put(entry("b.test"))
    assert await cache.load(Domain("b.test")) is None
    blocker.execute("ALTER TABLE away RENAME TO version")
    blocker.close()
    await cache.put(entry("b.test"))
    assert await cache.load(Domain("b.test")) == entry("b.test")
    await cache.close()


def damage(path: Path, domain: str, column: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"UPDATE policy SET {column} = x'c1' WHERE domain = ?", (domain,))


def forget_texts(path: Path, domain: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM version WHERE domain = ?", (domain,))


async def test_a_damaged_entry_is_read_from_its_text(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry(number=1))
    await cache.put(entry(number=2))
    damage(path, NAME, "policy")
    damage(path, NAME, "failure")
    assert await cache.load(NAME) == entry(number=2)
    await cache.close()


async def test_a_damaged_entry_without_text_is_no_absence_and_hides_no_other(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry())
    await cache.put(entry("other.test"))
    damage(path, NAME, "policy")
    forget_texts(path, NAME)
    with pytest.raises(DamagedEntry, match="damaged") as caught:
        await cache.load(NAME)
    assert (caught.value.fetched_at, caught.value.expires_at) == (T, T + 86_400)
    assert await cache.listing() == [entry("other.test")]
    assert await cache.damaged() == [NAME]
    await cache.close()


def test_a_file_that_is_no_database_refuses_to_open(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"no database, and long enough to be seen as none" * 100)
    with pytest.raises(CacheError, match="not a database"):
        SqliteCache(file, 10)


def test_a_newer_schema_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(CacheError, match="newer"):
        SqliteCache(path, 10)


async def test_the_latest_use_is_a_question_or_a_fetch(path: Path) -> None:
    cache = SqliteCache(path, 10)
    assert cache.last_use() is None
    await cache.put(entry())
    await cache.put(entry(fetched_at=T + 50))
    assert cache.last_use() == T + 50
    await cache.touch([NAME], T + 60)
    assert cache.last_use() == T + 60
    await cache.close()


async def test_a_cache_of_the_first_schema_is_brought_up_to_date(path: Path) -> None:
    cache = SqliteCache(path, 10)
    await cache.put(entry())
    await cache.close()
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE dane")
        other.execute("DROP INDEX policy_fetched_at")
        other.execute("PRAGMA user_version = 1")
    other.close()
    cache = SqliteCache(path, 10)
    await cache.note_dane("a.test", T, T - 10)
    await cache.note_dane("b.test", T + 20, T + 10)
    assert await cache.load(NAME) == entry()
    assert [await cache.dane_full_at("a.test"), await cache.last_dane_at()] == [None, T + 20]
    await cache.close()
