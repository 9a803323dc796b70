import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.models import Session
from django.db import OperationalError
from tests.fakes.evidence import make_domains

from mailward.config import Settings, Watch
from mailward.monitor.records import RecordKey, RecordState, State
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.ids import first_id_at
from mailward.store.models import (
    Domain,
    Invitation,
    Organisation,
    OutboxItem,
    RawMessage,
    Report,
    Role,
    ServiceState,
    Trust,
)
from mailward.store.services import housekeeping, notifications, outbox, waves
from mailward.store.services.domains import record_states
from mailward.store.services.outbox import Claimed
from mailward.worker import loop, run, timed
from mailward.worker.handlers import HANDLERS, Failure, Failures, Handler
from mailward.worker.loop import TIMER_SECONDS, work_once
from mailward.worker.timed import Schedule

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = Settings(watch=Watch(enabled=False))

pytestmark = pytest.mark.django_db


def waiting() -> dict[str, str]:
    """What is left in the outbox: key -> the last error."""
    return dict(OutboxItem.objects.values_list("key", "last_error"))


def do(handler: Handler) -> int:
    return async_to_sync(work_once)(SETTINGS, handler)


def put(*keys: str) -> None:
    outbox.put_many(outbox.Item("mail", key) for key in keys)


def test_what_is_done_is_forgotten_and_what_failed_comes_back_with_its_reason() -> None:
    async def fail_b(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        return {item.id: Failure("no") for item in items if item.key == "b"}

    put("a", "b", "c")
    assert do(Handler("mail", fail_b, batch=10)) == 3
    assert waiting() == {"b": "no"}


def test_one_lane_takes_what_came_last() -> None:
    """What one person changes does not wait behind a change of ten thousand domains."""
    done: list[str] = []

    async def note(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        done.extend(item.key for item in items)
        return {}

    with clock.frozen(NOON):
        put("a", "b", "c")
    with clock.frozen(NOON + timedelta(minutes=1)):
        put("later")
        handler = Handler("mail", note, batch=1, lanes=2, takes_newest=True)
        async_to_sync(work_once)(SETTINGS, handler, newest_first=True)
        do(handler)
    assert done[0] == "later"
    assert done[1] in "abc"


def test_a_change_of_many_domains_is_done_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes over from a killed worker waits for the lease, which is that of one turn."""
    now, steps = 0.0, 0

    def step(_change_id: int) -> bool:
        nonlocal now, steps
        now, steps = now + 5.0, steps + 1
        return steps < 10

    monkeypatch.setattr(waves, "step", step)
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    (handler,) = (each for each in HANDLERS if each.kind == "profile")
    assert handler.lease <= timedelta(minutes=1)
    outbox.put("profile", "7")
    assert [do(handler) for _ in range(5)] == [1, 1, 1, 1, 0]
    assert steps == 10


def test_what_no_attempt_can_help_is_not_tried_again() -> None:
    async def refuse(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        return {item.id: Failure("never", is_final=True) for item in items}

    put("a")
    do(Handler("mail", refuse, batch=10))
    assert waiting() == {}


def test_one_item_that_breaks_its_handler_leaves_the_others_of_its_batch_alone() -> None:
    async def stumble(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        if any(item.key == "bad" for item in items):
            raise KeyError("bad")
        return {}

    put("a", "b", "bad", "c", "d")
    do(Handler("mail", stumble, batch=10))
    assert waiting() == {"bad": "KeyError: 'bad'"}


def test_a_database_that_is_busy_blames_no_item() -> None:
    calls = []

    async def lock(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        calls.append(len(items))
        raise OperationalError("database is locked")

    put("a", "b")
    do(Handler("mail", lock, batch=10))
    assert calls == [2]
    assert waiting() == dict.fromkeys(("a", "b"), "database: database is locked")


def test_no_wait_is_longer_than_the_handler_allows() -> None:
    async def fail(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        return {item.id: Failure("no") for item in items}

    put("a")
    OutboxItem.objects.update(attempts=50)
    with clock.frozen(clock.now() + timedelta(seconds=1)):
        do(Handler("mail", fail, batch=1, longest_wait=timedelta(minutes=1)))
        assert OutboxItem.objects.get().available_at <= clock.now() + timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
async def test_work_that_is_interrupted_is_given_back_at_once() -> None:
    begun = asyncio.Event()

    async def hang(_settings: Settings, _items: Sequence[Claimed]) -> Failures:
        begun.set()
        await asyncio.Event().wait()
        return {}

    await in_store(put, "a")
    task = asyncio.create_task(work_once(SETTINGS, Handler("mail", hang, batch=1)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (item,) = await in_store(outbox.claim, ["mail"])
    assert item.key == "a"


def is_waited_for() -> bool:
    return OutboxItem.objects.exists() or not ServiceState.objects.filter(name=notifications.RELAY).exists()


@pytest.mark.django_db(transaction=True)
async def test_the_worker_does_what_is_due_until_it_is_told_to_stop() -> None:
    await in_store(outbox.put, "assess", "1")
    task = asyncio.create_task(run(SETTINGS))
    async with asyncio.timeout(20):
        # polled: a database sets no event when it changes
        while await in_store(is_waited_for):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (
        await in_store(lambda: ServiceState.objects.get(name=notifications.RELAY).detail)
        == "no mail relay is configured"
    )


@pytest.mark.django_db(transaction=True)
async def test_with_nothing_to_do_the_queue_is_asked_once_for_all_loops_and_what_comes_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims: list[str] = []
    claim = outbox.claim

    def counted(kinds: Sequence[str], *args: Any, **more: Any) -> list[Claimed]:
        claims.extend(kinds)
        return claim(kinds, *args, **more)

    monkeypatch.setattr(outbox, "claim", counted)
    task = asyncio.create_task(run(SETTINGS))
    async with asyncio.timeout(60):
        asked = -1
        while asked < len(claims) or await in_store(OutboxItem.objects.exists):
            asked = len(claims)
            await asyncio.sleep(2)
        await in_store(outbox.put, "assess", "1")
        # polled: a database sets no event when it changes
        while await in_store(OutboxItem.objects.exists):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert set(claims[asked:]) == {"assess"}
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.django_db(transaction=True)
async def test_one_change_does_not_wait_behind_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two lanes, one takes what waited longest and the other what came last."""
    begun: list[str] = []
    ends = asyncio.Event()

    async def wait(_settings: Settings, items: Sequence[Claimed]) -> Failures:
        begun.extend(item.key for item in items)
        await ends.wait()
        return {}

    now = clock.now()
    for age in range(2, 100):
        await in_store(outbox.put, "announce", f"{age}", None, now - timedelta(seconds=age))
    announce = next(handler for handler in HANDLERS if handler.kind == "announce")
    monkeypatch.setattr(loop, "HANDLERS", (replace(announce, run=wait, batch=1),))
    task = asyncio.create_task(run(SETTINGS))
    async with asyncio.timeout(20):
        while len(begun) < announce.lanes:  # noqa: ASYNC110 - a database sets no event when it changes
            await asyncio.sleep(0.02)
        ends.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert set(begun[:2]) == {"2", "99"}


def test_each_kind_has_one_handler() -> None:
    kinds = [handler.kind for handler in HANDLERS]
    assert len(set(kinds)) == len(kinds)


class TestTime:
    @pytest.fixture
    def domains(self, organisation: Organisation) -> list[Domain]:
        return make_domains(organisation, ["a.test", "b.test", "c.test"])

    def test_records_are_looked_at_every_six_hours_those_that_wait_longest_first(
        self, domains: list[Domain]
    ) -> None:
        for domain, hours in zip(domains, (5, 7, 12), strict=True):
            Domain.objects.filter(pk=domain.pk).update(records_checked_at=NOON - timedelta(hours=hours))
        with clock.frozen(NOON):
            housekeeping.put_record_checks(1)
            assert set(waiting()) == {str(domains[2].pk)}
            housekeeping.put_record_checks(10)
            assert set(waiting()) == {str(domains[1].pk), str(domains[2].pk)}

    @pytest.mark.parametrize(
        ("age", "wait", "is_asked"),
        [
            (timedelta(minutes=50), timedelta(minutes=1), True),
            (timedelta(minutes=70), timedelta(minutes=14), False),
            (timedelta(hours=20), timedelta(minutes=15), True),
            (timedelta(days=29), timedelta(minutes=59), False),
            (timedelta(days=29), timedelta(hours=1), True),
            (timedelta(days=31), timedelta(hours=5), False),
        ],
    )
    def test_records_that_are_not_right_are_looked_at_more_often_while_the_domain_is_new(
        self, domains: list[Domain], age: timedelta, wait: timedelta, is_asked: bool
    ) -> None:
        set_up, done, _ = domains
        record_states(set_up.pk, [RecordState(RecordKey.CLAIM, State.MISSING, "")])
        record_states(done.pk, [RecordState(RecordKey.CLAIM, State.RIGHT, "")])
        Domain.objects.update(created_at=NOON - age, records_checked_at=NOON - wait)
        with clock.frozen(NOON):
            housekeeping.put_record_checks(10)
        assert set(waiting()) == ({str(set_up.pk)} if is_asked else set())

    def test_the_timer_comes_to_a_domain_that_is_being_set_up_every_minute(
        self, domains: list[Domain], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A look ends after the timer has asked for it: a whole minute later than that is the timer after the next."""
        monkeypatch.setattr(timed, "TIMED", [each for each in timed.TIMED if each.name == "records"])
        Domain.objects.update(created_at=NOON)
        schedule, asked = Schedule(), []
        for seconds in range(0, 300, int(TIMER_SECONDS)):
            with clock.frozen(NOON + timedelta(seconds=seconds)):
                async_to_sync(schedule.run_due)(SETTINGS)
            if OutboxItem.objects.all().delete()[0]:
                asked.append(seconds)
                missing, end = [RecordState(RecordKey.CLAIM, State.MISSING, "")], seconds + 5
                for domain in domains:
                    record_states(domain.pk, missing, NOON + timedelta(seconds=end))
        assert asked == [0, 60, 120, 180, 240]

    def test_a_check_that_waits_for_another_attempt_is_not_hastened(self, domains: list[Domain]) -> None:
        later = NOON + timedelta(minutes=30)
        outbox.put("records", str(domains[0].pk), available_at=later)
        with clock.frozen(NOON):
            housekeeping.put_record_checks(10)
        assert OutboxItem.objects.get(key=str(domains[0].pk)).available_at == later

    def test_reports_that_wait_for_dns_are_not_forgotten(self, domains: list[Domain]) -> None:
        for hours in (0, 2, 24 * 9):
            self.make_report(domains[0], NOON - timedelta(hours=hours))
        with clock.frozen(NOON):
            housekeeping.put_verifications(10)
        assert set(waiting()) == {str(first_id_at(NOON - timedelta(hours=2)))}

    def make_report(self, domain: Domain, moment: datetime) -> None:
        raw = RawMessage.objects.create(
            organisation_id=domain.organisation_id, door="smtp", content=b"", received_at=moment
        )
        Report.objects.create(
            id=first_id_at(moment),
            organisation_id=domain.organisation_id,
            domain=domain,
            domain_key=domain.pk,
            raw=raw,
            content_hash=str(moment).encode(),
            trust=Trust.PENDING,
            door="smtp",
            reporter="google.test",
            parsed=b"{}",
            deviations=b"[]",
            received_at=moment,
        )

    def test_what_has_run_out_is_thrown_away(self, organisation: Organisation) -> None:
        Session.objects.create(session_key="old", session_data="", expire_date=NOON - timedelta(days=1))
        Session.objects.create(session_key="new", session_data="", expire_date=NOON + timedelta(days=1))
        for name, days in (("old", 31), ("new", 1)):
            Invitation.objects.create(
                organisation=organisation,
                token_hash=name,
                role=Role.READER,
                expires_at=NOON - timedelta(days=days),
            )
        outbox.put("of-an-older-version", "x", available_at=NOON - timedelta(days=8))
        outbox.put("mail", "y", available_at=NOON - timedelta(days=8))
        with clock.frozen(NOON):
            housekeeping.sweep(["mail"])
        assert Session.objects.get().session_key == "new"
        assert Invitation.objects.get().token_hash == "new"
        assert set(waiting()) == {"y"}

    def test_a_simulated_day_brings_a_days_work(self, domains: list[Domain]) -> None:
        schedule = Schedule()

        def pass_time(moment: datetime) -> set[str]:
            OutboxItem.objects.all().delete()
            with clock.frozen(moment):
                async_to_sync(schedule.run_due)(SETTINGS)
            return set(waiting())

        keys = {str(domain.pk) for domain in domains}
        assert pass_time(NOON) == keys
        assert pass_time(NOON + timedelta(seconds=9)) == set()
        assert pass_time(NOON + timedelta(days=1)) == keys
        assert pass_time(NOON) == keys, "a clock that went back stops nothing"
