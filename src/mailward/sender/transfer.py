"""Policies as JSON lines: out of one cache, into another.

A line carries the text of the policy as it came over HTTPS and when; everything else is worked out from these two,
so that a line cannot claim a longer life than the policy has. Of two copies the one fetched later holds, whole; one
that was fetched in the future, when the clock was ahead, holds against none.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from mailward.core.mtasts.decide import Cached
from mailward.core.mtasts.policy import MAX_POLICY_BYTES, PolicyInvalid, parse_policy
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.sender.cache import Entry

MAX_LINE = 4 * MAX_POLICY_BYTES
SKEW_SECONDS = 60  # between the clocks of two hosts; what is later was not fetched yet
_MAX_ID = 32  # RFC 8461 §3.1
_PUT = """
INSERT INTO policy (domain, policy, policy_id, fetched_at, expires_at, refresh_at, used_at, failure)
VALUES (?, ?, ?, ?, ?, ?, ?, NULL)
ON CONFLICT (domain) DO UPDATE SET policy = excluded.policy, policy_id = excluded.policy_id,
    fetched_at = excluded.fetched_at, expires_at = excluded.expires_at, refresh_at = excluded.refresh_at,
    failure = NULL
WHERE excluded.fetched_at > policy.fetched_at OR policy.fetched_at > ?
"""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a line; what else it says, is for people."""

    domain: str
    policy_id: str
    fetched_at: datetime
    policy: str


class LineInvalid(ValueError):
    """The line cannot be taken over; the text says why."""


@dataclass(frozen=True, slots=True)
class Imported:
    taken: tuple[Domain, ...]
    ended: int
    """Lines whose policy has ended since."""
    older: int
    """Lines whose policy the cache has as late or later."""


def export_line(entry: Entry) -> str:
    cached = entry.cached
    failure = entry.failure
    return json.dumps(
        {
            "domain": entry.domain,
            "policy_id": cached.policy_id,
            "fetched_at": show_time(cached.fetched_at),
            "ends_at": show_time(cached.expires_at),
            "mode": cached.policy.mode.value,
            "max_age": cached.policy.max_age_seconds,
            "mx": list(cached.policy.mx),
            "failed_refreshes": failure.count if failure else 0,
            "failure": failure.reason if failure else "",
            "policy": cached.policy.text,
        }
    )


def read_line(line: bytes, now: int) -> Entry:
    """Raises LineInvalid."""
    if len(line) > MAX_LINE:
        raise LineInvalid(f"longer than {MAX_LINE} bytes")
    try:
        found = msgspec.json.decode(line, type=Line)
        domain = parse_domain(found.domain)
        policy = parse_policy(found.policy.encode())
    except (msgspec.MsgspecError, InvalidName, UnicodeError) as error:
        raise LineInvalid(str(error)) from error
    except PolicyInvalid as error:
        raise LineInvalid(f"the policy of {found.domain}: {error}") from error
    if found.fetched_at.tzinfo is None:
        raise LineInvalid("fetched_at has no time zone")
    if len(found.policy_id) > _MAX_ID or not (found.policy_id.isascii() and found.policy_id.isalnum()):
        raise LineInvalid("policy_id is no id of an _mta-sts record")
    fetched_at = int((found.fetched_at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
    if fetched_at > now + SKEW_SECONDS:
        raise LineInvalid("fetched_at is in the future: the policy would live too long")
    cached = Cached(policy, found.policy_id, min(fetched_at, now))
    return Entry(domain, cached, None, cached.refresh_at(0.0))


def read_lines(lines: Iterable[bytes], now: int) -> Iterator[Entry]:
    """Raises LineInvalid with the number of the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield read_line(line, now)
        except LineInvalid as error:
            raise LineInvalid(f"line {number}: {error}") from error


def take_over(connection: sqlite3.Connection, entries: Iterable[Entry], now: int) -> Imported:
    """Inside the transaction of `control.change`."""
    taken: dict[Domain, None] = {}
    ended = older = 0
    for entry in entries:
        cached = entry.cached
        if not cached.is_live(now):
            ended += 1
        elif _put(connection, entry, now):
            taken[entry.domain] = None
        else:
            older += 1
    return Imported(tuple(taken), ended, older)


def select(
    entries: Sequence[Entry],
    now: int,
    *,
    mode: str = "",
    failing: bool = False,
    ended: bool = False,
    ends_within_hours: int = 0,
    below: str = "",
) -> list[Entry]:
    """Those that fit every filter that is given."""

    def fits(entry: Entry) -> bool:
        cached = entry.cached
        return (
            (not mode or cached.policy.mode == mode)
            and (not failing or entry.failure is not None)
            and (not ended or not cached.is_live(now))
            and (not ends_within_hours or 0 < cached.expires_at - now <= ends_within_hours * 3600)
            and (not below or entry.domain == below or entry.domain.endswith(f".{below}"))
        )

    return [entry for entry in entries if fits(entry)]


def show_time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _put(connection: sqlite3.Connection, entry: Entry, now: int) -> bool:
    cached = entry.cached
    policy = msgspec.msgpack.encode(cached.policy)
    times = (cached.fetched_at, cached.expires_at, entry.refresh_at, now)
    if not connection.execute(_PUT, (entry.domain, policy, cached.policy_id, *times, now)).rowcount:
        return False
    last = connection.execute(
        "SELECT text FROM version WHERE domain = ? ORDER BY rowid DESC LIMIT 1", (entry.domain,)
    ).fetchone()
    if last is None or last[0] != cached.policy.text:
        version = (entry.domain, cached.fetched_at, cached.policy_id, cached.policy.text)
        connection.execute("INSERT INTO version VALUES (?, ?, ?, ?)", version)
    return True
