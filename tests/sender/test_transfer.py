"""Export and import: a policy lives as long elsewhere as it did here, and never longer."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sender.lab import POLICY, policy

from mailward.core.mtasts.decide import Cached, Failure
from mailward.core.mtasts.policy import parse_policy
from mailward.core.names import Domain
from mailward.sender.cache import Entry
from mailward.sender.control import change
from mailward.sender.sqlite import SqliteCache
from mailward.sender.transfer import (
    Imported,
    LineInvalid,
    export_line,
    read_line,
    read_lines,
    select,
    take_over,
)

NOW = 1_800_000_000
NAME = Domain("example.test")
DAY = 86_400


def entry(fetched_at: int = NOW - DAY, body: bytes = POLICY, domain: str = "example.test") -> Entry:
    return Entry(Domain(domain), Cached(parse_policy(body), "1", fetched_at), None, fetched_at + DAY)


def line(**changes: object) -> bytes:
    return json.dumps(json.loads(export_line(entry())) | changes).encode()


def test_a_line_read_again_is_the_same_policy_with_the_same_times() -> None:
    read = read_line(export_line(entry()).encode(), NOW)
    assert read.cached == entry().cached
    assert read.cached.policy.text == POLICY.decode()


BAD = [
    ({"domain": "no name"}, "a name that is none"),
    ({"policy": "version: STSv1"}, "no policy"),
    ({"policy": POLICY.decode() + "mx: a tafile=/x\n"}, "text that would become an attribute"),
    ({"fetched_at": "2999-01-01T00:00:00Z"}, "the future: it would live too long"),
    ({"fetched_at": "2026-01-01T00:00:00"}, "no time zone"),
    ({"policy_id": "a b"}, "no id"),
    ({"policy_id": ""}, "no id"),
    ({"policy": 1}, "another type"),
]


@pytest.mark.parametrize("changes, reason", BAD)
def test_bad_lines_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(LineInvalid):
        read_line(line(**changes), NOW)
    with pytest.raises(LineInvalid, match="line 2"):
        list(read_lines([b"\n", line(**changes)], NOW))


@given(st.binary(max_size=300), st.text(max_size=100))
def test_whatever_a_line_holds_it_is_read_or_refused(raw: bytes, text: str) -> None:
    for line_ in (raw, line(policy=text), line(domain=text), line(policy_id=text), line(fetched_at=text)):
        with contextlib.suppress(LineInvalid):
            assert read_line(line_, NOW).cached.fetched_at <= NOW


def test_an_end_that_the_line_claims_counts_for_nothing() -> None:
    read = read_line(line(ends_at="2999-01-01T00:00:00Z", max_age=999_999_999), NOW)
    assert read.cached.expires_at == NOW - DAY + 604800


async def load(path: Path) -> list[Entry]:
    cache = SqliteCache(path, 100)
    found = await cache.listing()
    await cache.close()
    return found


def take(path: Path, *entries: Entry) -> Imported:
    done: list[Imported] = []

    def work(connection: sqlite3.Connection) -> tuple[Domain, ...]:
        done.append(take_over(connection, entries, NOW))
        return done[0].taken

    change(path, work, NOW)
    return done[0]


async def test_of_two_copies_the_later_fetch_holds(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite3"
    await load(path)
    assert take(path, entry()) == Imported((NAME,), 0, 0)
    assert take(path, entry(), entry(NOW - 2 * DAY, policy("testing"))) == Imported((), 0, 2)
    newer = entry(NOW - 10, policy("none", 400))
    assert take(path, newer) == Imported((NAME,), 0, 0)
    assert [found.cached for found in await load(path)] == [newer.cached]


async def test_a_copy_fetched_in_the_future_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite3"
    await load(path)
    right = entry(fetched_at=NOW)
    assert take(path, entry(fetched_at=NOW + DAY), right).taken == (NAME,)
    assert [found.cached for found in await load(path)] == [right.cached]


async def test_an_ended_policy_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite3"
    await load(path)
    assert take(path, entry(NOW - 8 * DAY)) == Imported((), 1, 0)
    assert await load(path) == []


def test_the_filters_of_list() -> None:
    failing = Entry(
        Domain("a.test"), Cached(parse_policy(policy("testing")), "1", NOW), Failure("1", NOW, 2), NOW
    )
    ended = entry(NOW - 8 * DAY, domain="b.test")
    soon = entry(NOW - 7 * DAY + 3600, domain="sub.c.test")
    every = [failing, ended, soon]
    assert select(every, NOW) == every
    assert select(every, NOW, mode="testing") == [failing]
    assert select(every, NOW, failing=True) == [failing]
    assert select(every, NOW, ended=True) == [ended]
    assert select(every, NOW, ends_within_hours=2) == [soon]
    assert select(every, NOW, below="c.test") == [soon]
    assert select(every, NOW, below=".test".lstrip("."), mode="enforce") == [ended, soon]
