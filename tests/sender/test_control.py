"""What a command changes in the cache reaches a daemon that runs."""

import asyncio
import contextlib
import datetime as dt
import json
import sqlite3

import pytest
from tests.fakes.policyhost import http
from tests.sender.lab import DOMAIN, POLICY, SECURE, Lab, policy
from tests.sender.test_answers import ask

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.names import Domain
from mailward.core.postfix.netstring import encode
from mailward.net import clock
from mailward.sender import control
from mailward.sender.cache import CacheError
from mailward.sender.control import change, purge_domains
from mailward.sender.daemon import Daemon
from mailward.sender.transfer import read_line, show_time, take_over

NAME = Domain(DOMAIN)


async def test_a_purged_policy_is_forgotten_by_the_daemon_as_well(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
    assert purge_domains(lab.settings().sender_cache_path, [NAME, Domain("other.test")], 100) == [NAME]
    await daemon.journal.look()
    assert await ask(daemon) == "NOTFOUND "


async def test_a_fetch_that_fails_undoes_no_purge(lab: Lab, daemon: Daemon) -> None:
    async def purge_and_fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        purge_domains(lab.settings().sender_cache_path, [NAME], 100)
        await daemon.journal.look()
        writer.close()

    lab.publish()
    assert await ask(daemon) == SECURE
    lab.publish("2")
    lab.host.response = purge_and_fail
    await daemon.knowledge.refresh(NAME)
    assert daemon.answers.metrics.fetch_failures.total() == 1
    assert await daemon.knowledge.cache.load(NAME) is None
    assert await ask(daemon) == "NOTFOUND "


@pytest.mark.parametrize("is_found", [True, False])
async def test_who_asks_after_a_purge_is_not_answered_by_the_refresh_that_it_met(
    lab: Lab, daemon: Daemon, is_found: bool
) -> None:
    asking: list[asyncio.Task[str]] = []

    async def purge_and_ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lab.publish("2")
        purge_domains(lab.settings().sender_cache_path, [NAME], 100)
        await daemon.journal.look()
        asking.append(asyncio.create_task(ask(daemon)))
        await asyncio.sleep(0)
        if is_found:
            writer.write(http(POLICY))
        writer.close()

    lab.publish()
    assert await ask(daemon) == SECURE
    lab.publish("2")
    lab.host.response = purge_and_ask
    await daemon.knowledge.refresh(NAME)
    assert [await each for each in asking] == [SECURE]
    assert len(lab.host.requests) == (2 if is_found else 3)


async def test_a_fetch_that_fails_leaves_what_another_process_has_fetched(lab: Lab, daemon: Daemon) -> None:
    other = lab.daemon()
    lab.publish()
    assert await ask(daemon) == SECURE

    async def let_the_other_learn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lab.publish("2", policy("testing"))
        with clock.frozen(clock.now() + dt.timedelta(seconds=1)):
            await other.knowledge.refresh(NAME)
        writer.close()

    lab.publish("2")
    lab.host.response = let_the_other_learn
    await daemon.knowledge.refresh(NAME)
    entry = await daemon.knowledge.cache.load(NAME)
    assert entry is not None
    assert (entry.cached.policy.mode, entry.failure) == ("testing", None)
    assert (await daemon.knowledge.state(NAME)).entry == entry
    await other.knowledge.close()


async def test_after_a_fetch_that_failed_another_process_pauses_too(lab: Lab, daemon: Daemon) -> None:
    other = lab.daemon()
    lab.publish()
    assert await ask(daemon) == await ask(other) == SECURE
    await other.knowledge.refresh(NAME)
    lab.publish("2")
    lab.host.response = http(status="503 Service Unavailable")
    for each in (daemon, other):
        with clock.frozen(clock.now() + dt.timedelta(seconds=90)):
            await each.knowledge.refresh(NAME)
    assert len(lab.host.requests) == 2
    entry = await daemon.knowledge.cache.load(NAME)
    assert entry is not None
    assert entry.failure is not None
    assert entry.failure.count == 1
    await other.knowledge.close()


def take_over_policy(lab: Lab) -> None:
    """As `import` does."""
    now = int(clock.timestamp())
    line = {"domain": DOMAIN, "policy_id": "1", "fetched_at": show_time(now), "policy": POLICY.decode()}
    entry = read_line(json.dumps(line).encode(), now)
    change(lab.settings().sender_cache_path, lambda cache: take_over(cache, [entry], now).taken, now)


async def ask_server(daemon: Daemon) -> str:
    """From memory where that has an answer."""
    hit = daemon.answers.memo.find(encode(f"QUERY {DOMAIN}".encode()))
    return hit[0].partition(b":")[2][:-1].decode() if hit else await ask(daemon)


async def test_what_is_imported_while_a_fetch_fails_is_the_answer(lab: Lab, daemon: Daemon) -> None:
    async def take_over_and_fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        take_over_policy(lab)
        await daemon.journal.look()
        writer.close()

    lab.publish()
    lab.host.response = take_over_and_fail
    assert [await ask_server(daemon) for _ in range(2)] == [SECURE, SECURE]


async def test_what_is_imported_while_dane_is_looked_for_ends_the_answer_before(
    lab: Lab, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_meanwhile(*_: object) -> tuple[DaneFinding, float]:
        await asyncio.sleep(0.1)
        if not await daemon.knowledge.cache.listing():
            take_over_policy(lab)
            await daemon.journal.look()
        return DaneFinding(DaneState.ABSENT), float("inf")

    daemon.knowledge.dane.validation_seen.set()
    daemon.knowledge.dane.is_on = True
    monkeypatch.setattr(daemon.knowledge.dane, "find", look_meanwhile)
    assert [await ask_server(daemon) for _ in range(2)] == ["NOTFOUND ", SECURE]


async def test_what_was_changed_before_the_start_is_no_news(lab: Lab, daemon: Daemon) -> None:
    path = lab.settings().sender_cache_path
    purge_domains(path, [NAME], 100)
    later = lab.daemon()
    lab.publish()
    assert await ask(later) == SECURE
    await later.journal.look()
    assert await later.answers.knowledge.cache.load(NAME) is not None
    assert len(lab.host.requests) == 1
    await later.knowledge.close()


async def test_what_a_worker_has_learned_itself_stays_in_its_memory(lab: Lab, daemon: Daemon) -> None:
    daemon.journal.is_shared = True
    lab.publish()
    assert await ask(daemon) == SECURE
    state = await daemon.knowledge.state(NAME)
    for _ in range(2):
        await daemon.journal.look()
    assert await daemon.knowledge.state(NAME) is state


@pytest.mark.parametrize("ahead", [dt.timedelta(), dt.timedelta(days=365)])
async def test_what_another_has_learned_later_is_heard_once(lab: Lab, ahead: dt.timedelta) -> None:
    lab.publish()
    with clock.stepped(ahead):
        first, second = lab.daemon(), lab.daemon()
        assert await ask(first) == await ask(second) == SECURE
        third = lab.daemon()  # hears from here on
        assert await ask(third) == SECURE
    third.journal.is_shared = True
    lab.publish("2", policy("none"))
    with clock.frozen(clock.now() + dt.timedelta(seconds=1)):
        await first.knowledge.refresh(NAME)
        await third.journal.look()
        assert await ask(third) == "NOTFOUND "
        state = await third.knowledge.state(NAME)
        await third.journal.look()
        assert await third.knowledge.state(NAME) is state
    for daemon in (first, second, third):
        await daemon.knowledge.close()


async def test_a_change_that_fails_changes_nothing(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    await ask(daemon)

    def work(connection: sqlite3.Connection) -> list[Domain]:
        connection.execute("DELETE FROM policy")
        raise sqlite3.OperationalError("no")

    with pytest.raises(CacheError):
        change(lab.settings().sender_cache_path, work, 100)
    assert await daemon.knowledge.cache.load(NAME) is not None


async def test_a_cache_that_is_gone_is_said_once(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    async def fail() -> None:
        nonlocal looks
        looks += 1
        raise CacheError("gone" if looks < 3 else "locked")

    monkeypatch.setattr(control, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(daemon.journal, "look", fail)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(daemon.journal.run(), 0.5)
    assert looks > 3
    assert [vars(record)["reason"] for record in caplog.records] == ["gone", "locked"]
