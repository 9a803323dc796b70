import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from mailward.net import clock
from mailward.store.models import OutboxItem
from mailward.store.services import outbox

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_noon() -> Iterator[None]:
    with clock.frozen(NOON):
        yield


def claim_one(kind: str = "assess") -> outbox.Claimed:
    (item,) = outbox.claim([kind])
    return item


def test_work_is_claimed_once_and_then_forgotten() -> None:
    outbox.put("assess", "7", {"why": "report"})
    item = claim_one()
    assert (item.kind, item.key, item.payload, item.attempts) == ("assess", "7", {"why": "report"}, 1)
    assert outbox.claim(["assess"]) == []
    outbox.done(item)
    assert not OutboxItem.objects.exists()


def test_the_kinds_of_which_work_is_due_are_told() -> None:
    kinds = ("assess", "mail", "notify", "seen")
    assert outbox.due_kinds(kinds) == []
    outbox.put("assess", "1")
    outbox.put("assess", "2")
    outbox.put("mail", "1", available_at=NOON + MINUTE)
    outbox.put("seen", "1")
    outbox.put("watch", "1")
    assert sorted(outbox.due_kinds(kinds)) == ["assess", "seen"]
    item = claim_one("seen")
    assert outbox.due_kinds(kinds) == ["assess"]
    outbox.put("seen", "1")  # once more, after the one who is at it
    outbox.done(item)
    assert sorted(outbox.due_kinds(kinds)) == ["assess", "seen"]
    with clock.frozen(NOON + MINUTE):
        assert sorted(outbox.due_kinds(kinds)) == ["assess", "mail", "seen"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by the size of the table")
def test_thousands_that_wait_are_not_sorted_for_each_claim() -> None:
    with CaptureQueriesContext(connection) as seen:
        outbox.claim(["assess"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {seen.captured_queries[0]['sql']}")
        plan = [row[3] for row in cursor.fetchall()]
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_asking_again_for_pending_work_is_the_same_work_at_the_earlier_time() -> None:
    outbox.put("notify", "1", available_at=NOON + 10 * MINUTE)
    outbox.put("notify", "1", available_at=NOON + 20 * MINUTE)
    assert OutboxItem.objects.get().available_at == NOON + 10 * MINUTE
    outbox.put("notify", "1", {"newer": True}, available_at=NOON + 5 * MINUTE)
    assert OutboxItem.objects.get().available_at == NOON + 5 * MINUTE
    assert OutboxItem.objects.get().payload == {"newer": True}


def test_one_call_may_ask_twice_for_the_same_work_and_for_much() -> None:
    outbox.put_many([outbox.Item("assess", str(n % 1200)) for n in range(2400)])
    assert OutboxItem.objects.count() == 1200


def test_work_is_not_claimed_before_its_time_nor_by_workers_for_other_kinds() -> None:
    outbox.put("assess", "7", available_at=NOON + MINUTE)
    assert outbox.claim(["assess"]) == []
    with clock.frozen(NOON + MINUTE):
        assert outbox.claim(["mail"]) == []
        assert claim_one().key == "7"


def test_work_asked_for_while_it_is_done_runs_again_and_never_beside_itself() -> None:
    outbox.put("assess", "7")
    first = claim_one()
    outbox.put("assess", "7")
    assert outbox.claim(["assess"]) == []
    outbox.done(first)
    again = claim_one()
    outbox.done(again)
    assert not OutboxItem.objects.exists()


def test_work_asked_for_later_while_it_is_done_waits_for_that_time() -> None:
    outbox.put("notify", "7")
    first = claim_one("notify")
    outbox.put("notify", "7", available_at=NOON + 2 * MINUTE)
    outbox.done(first)
    assert outbox.claim(["notify"]) == []
    with clock.frozen(NOON + 2 * MINUTE):
        assert claim_one("notify").key == "7"


def test_work_that_asks_for_itself_runs_when_it_said_however_long_the_lease() -> None:
    outbox.put("verify", "7")
    item = claim_one("verify")
    outbox.put("verify", "7", available_at=NOON + timedelta(hours=4))
    outbox.done(item)
    with clock.frozen(NOON + timedelta(hours=4) - MINUTE):
        assert outbox.claim(["verify"]) == []
    with clock.frozen(NOON + timedelta(hours=4)):
        assert claim_one("verify").attempts == 1


def test_of_those_who_ask_while_it_is_done_the_earliest_counts() -> None:
    outbox.put("verify", "7")
    item = claim_one("verify")
    for minutes in (30, 2, 40):
        outbox.put("verify", "7", available_at=NOON + minutes * MINUTE)
    outbox.done(item)
    assert OutboxItem.objects.get().available_at == NOON + 2 * MINUTE


def test_asking_later_for_work_that_a_dead_worker_left_does_not_put_it_off() -> None:
    outbox.put("assess", "7")
    claim_one()
    with clock.frozen(NOON + outbox.DEFAULT_LEASE):
        outbox.put("assess", "7", available_at=NOON + timedelta(hours=1))
        assert claim_one().key == "7"


def test_an_old_claim_ends_nothing_of_a_newer_one() -> None:
    outbox.put("assess", "7")
    old = claim_one()
    with clock.frozen(NOON + outbox.DEFAULT_LEASE):
        second = claim_one()
        outbox.put("assess", "7")
        outbox.done(second)
        third = claim_one()
        outbox.done(old)
        outbox.retry(old, "slow")
        assert OutboxItem.objects.get().claimed_until
        outbox.done(third)
    assert not OutboxItem.objects.exists()


def test_a_worker_that_dies_gives_its_work_back_when_the_lease_ends() -> None:
    outbox.put("assess", "7")
    dead = claim_one()
    with clock.frozen(NOON + outbox.DEFAULT_LEASE):
        alive = claim_one()
        # the dead one was only slow: what it says no longer counts
        outbox.done(dead)
        outbox.retry(dead, "slow")
        assert OutboxItem.objects.get().last_error == ""
        outbox.done(alive)
    assert not OutboxItem.objects.exists()


def test_failed_work_comes_back_later_with_its_reason() -> None:
    outbox.put("notify", "7")
    outbox.retry(claim_one("notify"), "relay refused " + "x" * 1000)
    row = OutboxItem.objects.get()
    assert row.last_error.startswith("relay refused")
    assert timedelta(seconds=11) <= row.available_at - NOON <= timedelta(seconds=19)
    outbox.hasten("notify")
    assert claim_one("notify").attempts == 2


def test_work_asked_for_while_it_failed_keeps_the_time_it_was_asked_for() -> None:
    outbox.put("notify", "7")
    failing = claim_one("notify")
    outbox.put("notify", "7")
    outbox.retry(failing, "relay refused", delay=timedelta(hours=1))
    assert claim_one("notify").attempts == 2


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 15), (2, 30), (3, 60), (9, 3600), (10**6, 3600)],
)
def test_waits_double_up_to_an_hour_give_or_take_a_quarter(attempts: int, seconds: int) -> None:
    assert 0.75 * seconds <= outbox.backoff(attempts).total_seconds() <= 1.25 * seconds


def test_work_of_a_transaction_that_fails_is_never_seen() -> None:
    with transaction.atomic():
        outbox.put("assess", "7")
        transaction.set_rollback(True)
    assert outbox.claim(["assess"]) == []


WORKER = """
import django; django.setup()
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {database!r}
from mailward.store.services import outbox
while items := outbox.claim(["assess"], limit=3):
    for item in items:
        print(item.key, flush=True)
    outbox.done(items)
"""


@pytest.mark.django_db(transaction=True)
def test_two_processes_share_the_work_and_do_each_piece_once() -> None:
    outbox.put_many([outbox.Item("assess", str(n)) for n in range(60)])
    script = WORKER.format(database=str(connection.settings_dict["NAME"]))
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
    # the frozen noon is ours alone: theirs is the real time
    OutboxItem.objects.update(available_at=datetime(2020, 1, 1, tzinfo=UTC))
    workers = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    done = [line for worker in workers for line in worker.communicate(timeout=60)[0].split()]
    assert sorted(done, key=int) == [str(n) for n in range(60)]
    assert not OutboxItem.objects.exists()
