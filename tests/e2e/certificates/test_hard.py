"""Killed, in bulk, and renewed while everybody fetches."""

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.certificates.site import Provider, running_provider, wait_until

pytestmark = [pytest.mark.timeout(3_000), pytest.mark.long]

ISSUED = "SELECT COUNT(*) FROM store_certificate"
OPEN = "SELECT COUNT(*) FROM store_acmeorder WHERE ended_at IS NULL"
ORDERED = "POST /order-plz"
FAILED = re.compile(r" certificate-not-issued .*?reason=(.*)")
TAKEN = "Issued certificate serial"


def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing() -> None:
    """Killed again and again while eight domains get their certificates, with slow validation so that every step is
    met; then left in peace.
    """
    names = [f"d{number}.bulk.test" for number in range(8)]
    with running_provider(["bulk.test"], sleep_seconds=2) as provider:
        provider.publish(provider.add(names), "bulk.test.")
        kills = 0
        while provider.rows(ISSUED)[0][0] < len(names) and kills < 12:
            time.sleep(0.3 + 0.37 * (kills % 7))
            kill(provider)
            provider.start()
            kills += 1
        wait_until(lambda: provider.rows(ISSUED)[0][0] == len(names), 300)
        wait_until(lambda: provider.rows(OPEN)[0][0] == 0, 60)
        assert provider.rows("SELECT COUNT(DISTINCT host) FROM store_certificate")[0][0] == len(names)
        # what the CA did: one certificate a name; an order whose answer a kill has swallowed is all there may be more
        assert provider.pebble.log.count(TAKEN) == len(names)
        orders = provider.pebble.log.count(ORDERED)
        print(f"\n{kills} kills, {len(names)} names, {orders} orders at the CA")  # noqa: T201 - a figure
        assert orders <= len(names) + kills
        for name in names:
            wait_until(lambda name=name: provider.fetch(name), 60)


def kill(provider: Provider) -> None:
    """The whole of `mailward serve`, as the power does; its children die with it."""
    process = provider.serve._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
    time.sleep(0.3)
    provider.serve._process = None


def test_1000_domains_at_once_take_no_more_than_a_second_each() -> None:
    names = [f"d{number}.bulk.test" for number in range(1_000)]
    with running_provider(["bulk.test"]) as provider:
        tokens = provider.add(names)
        begun = time.monotonic()
        provider.publish(tokens, "bulk.test.")
        wait_until(lambda: provider.rows(ISSUED)[0][0] == len(names), 2_000, every=1)
        took = time.monotonic() - begun
        print(f"\n{len(names)} domains in {took:.0f} s: {took / len(names):.2f} s each")  # noqa: T201
        assert took <= len(names)
        failed = Counter(FAILED.findall(provider.serve.said())).most_common(5)
        assert provider.pebble.log.count(ORDERED) == len(names), failed
        for name in names[::97]:
            assert "mode: testing" in provider.fetch(name)


def test_no_fetch_fails_while_certificates_are_renewed() -> None:
    with running_provider(["customer.test"]) as provider:
        provider.publish(provider.add(["customer.test"]), "customer.test.")
        wait_until(lambda: provider.fetch("customer.test"), 60)
        with fetching(provider) as counts:
            for number in range(2, 7):
                renew(provider)
                wait_until(lambda number=number: provider.rows(ISSUED)[0][0] == number, 60)
                time.sleep(1)
        print(f"\n{counts['good']} fetches during 5 renewals, {counts['failed']} failed")  # noqa: T201
        assert counts["failed"] == 0
        assert counts["good"] > 50


@contextmanager
def fetching(provider: Provider) -> Iterator[dict[str, int]]:
    counts, over = {"good": 0, "failed": 0}, threading.Event()
    lock = threading.Lock()

    def fetch() -> None:
        while not over.is_set():
            kind = "good" if provider.fetch("customer.test") else "failed"
            with lock:
                counts[kind] += 1

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()


def renew(provider: Provider) -> None:
    """The time to renew has come: written down as if it had been planned for then."""
    past = "datetime('now', '-1 minute')"
    provider.write(f"UPDATE store_certificatecare SET renew_at = {past}, due_at = {past}")
