"""Two connections that have a better copy of one report at the same time count it once."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from tests.store.test_reports import DAY, UNVERIFIED, VERIFIED, arrival, sessions, store

from mailward.store.models import Domain, Report, Trust
from mailward.store.services.incoming import Judgement
from mailward.store.services.judging import settle_pending

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]
COUNTED_ONCE = [(DAY, "sts", "google.test", 100, 3, 1)]
PATIENCE_SECONDS = 60.0


def run_behind_a_lock(*works: Callable[[], object]) -> None:
    """Each in a thread and on a connection of its own, all of which read before any writes, in this order."""
    threads = [threading.Thread(target=_closing, args=(work,)) for work in works]
    with transaction.atomic():
        Report.objects.select_for_update().get()
        for number, thread in enumerate(threads, 1):
            thread.start()
            _await_waiting(number)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)


def _closing(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connection.close()


def _await_waiting(number: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0] >= number:
                return
    raise TimeoutError(f"{number} were to wait for the lock")


def test_two_doors_that_bring_the_better_copy_together(domain: Domain) -> None:
    store(arrival(domain, UNVERIFIED))
    run_behind_a_lock(lambda: store(arrival(domain)), lambda: store(arrival(domain)))
    assert sessions() == COUNTED_ONCE
    assert Report.objects.get().copies == 3


@pytest.mark.parametrize("door_first", [True, False])
def test_a_door_and_the_worker_that_has_checked_the_signature(domain: Domain, door_first: bool) -> None:
    (stored,) = store(arrival(domain, Judgement(Trust.PENDING, "temporary")))
    door, worker = (
        lambda: store(arrival(domain)),
        lambda: settle_pending(stored.report_ids[0], VERIFIED),
    )
    run_behind_a_lock(*((door, worker) if door_first else (worker, door)))
    assert sessions() == COUNTED_ONCE
