"""Bytes that nothing refers to any more are removed, bit by bit; all others stay."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from tests.fakes.arrivals import FAILED, UNVERIFIED, VERIFIED, arrive, arrive_raw, post
from tests.plans import plan_of, scans

from mailward.config import Settings
from mailward.ingest.reread import reread
from mailward.net import clock
from mailward.store.models import Domain, Door, OutboxItem, QuarantinedMessage, RawMessage, Report
from mailward.store.services import housekeeping
from mailward.worker import run_once
from mailward.worker.timed import Schedule

pytestmark = pytest.mark.django_db
LATER = housekeeping.KEEP_ORPHANS + timedelta(minutes=1)


def remove(limit: int = 1_000) -> int:
    """Whole rounds until nothing more is found; returns how many windows were looked at."""
    rounds, after = 0, 0
    with clock.frozen(clock.now() + LATER):
        while after := housekeeping.remove_orphans(after, limit):
            rounds += 1
    return rounds


def kept() -> set[int]:
    return set(RawMessage.objects.values_list("id", flat=True))


def referred_to() -> set[int]:
    reports = Report.objects.values_list("raw_id", flat=True)
    return {*reports, *QuarantinedMessage.objects.values_list("raw_id", flat=True)}


def test_what_a_more_trusted_copy_replaced_is_removed(domain: Domain) -> None:
    for judgement in (FAILED, UNVERIFIED, VERIFIED):
        arrive(domain, judgement)
    assert RawMessage.objects.count() == 3
    remove()
    assert kept() == referred_to()
    assert RawMessage.objects.count() == 1


def test_what_a_report_or_a_quarantined_message_needs_stays(domain: Domain) -> None:
    arrive(domain)
    post(domain, report_id="by https")
    arrive(domain, UNVERIFIED, report_id="waits")
    arrive_raw(domain, b"no JSON at all", None, door=Door.HTTPS)
    before = kept()
    assert before == referred_to()
    remove()
    assert kept() == before


def test_what_a_deleted_domain_leaves_is_removed(domain: Domain) -> None:
    arrive(domain)
    domain.delete()
    assert RawMessage.objects.count() == 1
    remove()
    assert kept() == set()


def test_what_left_quarantine_as_a_report_is_kept_once(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_id = arrive(domain)
    raw = Report.objects.get(pk=report_id).raw
    Report.objects.all().delete()  # as if it could not have been read at first
    quarantined = QuarantinedMessage.objects.create(
        organisation_id=raw.organisation_id,
        address_domain=domain,
        raw=raw,
        reason="no-report",
        received_at=raw.received_at,
    )
    async_to_sync(reread)(quarantined.pk)
    remove()
    assert kept() == referred_to()
    assert RawMessage.objects.count() == 1


def test_what_is_young_stays(domain: Domain) -> None:
    for judgement in (UNVERIFIED, VERIFIED):
        arrive(domain, judgement)
    with clock.frozen(clock.now() + housekeeping.KEEP_ORPHANS - timedelta(minutes=1)):
        assert housekeeping.remove_orphans(0, 1_000) == 0
    assert RawMessage.objects.count() == 2


def test_a_window_is_all_that_is_looked_at_in_one_go(domain: Domain) -> None:
    for number in range(10):
        for judgement in (UNVERIFIED, VERIFIED):
            arrive(domain, judgement, report_id=str(number))
    first = sorted(kept())[3]
    with clock.frozen(clock.now() + LATER):
        assert housekeeping.remove_orphans(0, 4) == first
    assert RawMessage.objects.count() == 18
    assert remove(limit=4) == 5
    assert kept() == referred_to()


def test_neither_reports_nor_their_bytes_are_read_for_it(domain: Domain) -> None:
    arrive(domain)
    with CaptureQueriesContext(connection) as queries:
        remove()
    asked = [query["sql"] for query in queries.captured_queries if "store_rawmessage" in query["sql"]]
    assert asked
    assert not [plan for plan in map(plan_of, asked) if scans(plan)]


def test_the_worker_does_it_window_by_window(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailward.worker.handlers.ORPHANS_A_WINDOW", 2)
    for number in range(3):
        for judgement in (UNVERIFIED, VERIFIED):
            arrive(domain, judgement, report_id=str(number))
    start = clock.now() + LATER
    numbers = []
    for step in range(4):
        with clock.frozen(start + step * housekeeping.ORPHANS_EVERY):
            if not step:
                async_to_sync(Schedule().run_due)(Settings())
            async_to_sync(run_once)(Settings())
            numbers.append(RawMessage.objects.count())
    assert numbers == [5, 4, 3, 3]
    assert kept() == referred_to()
    assert not OutboxItem.objects.filter(kind="orphans").exists(), "the hour brings the next round"
