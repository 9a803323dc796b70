"""What is in the cache, in numbers: read beside the daemon, on a connection of its own that cannot write."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mailward.core.mtasts.decide import Failure
from mailward.core.names import Domain
from mailward.sender.cache import CacheError

_BUSY_SECONDS = 2.0
_QUERY = """
SELECT count(*), coalesce(sum(expires_at > :now), 0),
    coalesce(:now - min(CASE WHEN expires_at > :now THEN fetched_at END), 0),
    coalesce(sum(expires_at > :now AND failure IS NOT NULL), 0),
    min(CASE WHEN expires_at > :now AND failure IS NOT NULL THEN expires_at END) - :now
FROM policy
"""
_FAILING = """
SELECT domain, failure, expires_at FROM policy
WHERE failure IS NOT NULL AND expires_at > ? AND fetched_at < ? ORDER BY expires_at LIMIT ?
"""
MAX_FAILING = 1_000
_failures = msgspec.msgpack.Decoder(Failure)


@dataclass(frozen=True, slots=True)
class Census:
    live: int
    ended: int
    oldest_seconds: int
    """Age of the live policy that was fetched the longest ago."""
    failing_refreshes: int
    first_failing_end_seconds: int | None
    """Until the first live policy ends whose refreshes fail; None: there is none."""


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = 1")
    return connection


def take_census(path: Path, now: int) -> Census:
    """Walks over the whole table: some milliseconds for ten thousand policies. Raises CacheError."""
    try:
        with contextlib.closing(open_for_reading(path)) as connection:
            [(count, live, oldest, failing, first_end)] = connection.execute(_QUERY, {"now": now}).fetchall()
    except sqlite3.Error as error:
        raise CacheError(f"{path}: {error}") from error
    return Census(live, count - live, max(oldest, 0), failing, first_end)


def failing_policies(path: Path, now: int, fetched_before: int) -> list[tuple[Domain, Failure, int]]:
    """Live policies whose refreshes fail since `fetched_before`, with their end; the first to end come first.

    Raises CacheError.
    """
    try:
        with contextlib.closing(open_for_reading(path)) as connection:
            rows = connection.execute(_FAILING, (now, fetched_before, MAX_FAILING)).fetchall()
    except sqlite3.Error as error:
        raise CacheError(f"{path}: {error}") from error
    failing = []
    for domain, failure, ends_at in rows:
        with contextlib.suppress(msgspec.MsgspecError):  # one that is damaged hides no other
            failing.append((Domain(domain), _failures.decode(failure), ends_at))
    return failing
