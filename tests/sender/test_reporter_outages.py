"""What the machine does to the reporter: a full disk, a clock that jumps, a second reporter."""

import asyncio
import resource
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.fakes.relay import FakeRelay
from tests.sender.reportlab import MORNING, ReportLab, later, tally

from mailward.core.tlsrpt.mail import read_mail
from mailward.net import clock, kernelclock
from mailward.sender import clockwatch
from mailward.sender.pace import MAX_WAIT
from mailward.sender.reportrows import StoreError
from mailward.sender.reportstore import ReportStore

NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ReportLab]:
    with FakeRelay() as relay:
        yield ReportLab(tmp_path, relay)


@pytest.fixture
def running_clock() -> Iterator[None]:
    """Runs from MORNING on."""
    clock.shift(MORNING - datetime.now(MORNING.tzinfo))  # noqa: TID251 - from the real time
    yield
    clock.shift(timedelta())


async def test_on_a_full_disk_nothing_is_sent_twice_and_nothing_is_lost(lab: ReportLab) -> None:
    taken, may_answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def pause() -> None:
        loop.call_soon_threadsafe(taken.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(may_answer.wait(), loop))

    lab.relay.pause = pause
    lab.count(tally())
    process = await lab.spawn("reporter")
    await asyncio.wait_for(taken.wait(), 30)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # no file may grow
    may_answer.set()
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"reports-stalled" not in await process.stdout.readline():
            pass
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        while set(lab.states().values()) != {"delivered"}:  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert len(lab.relay.mails) == 1
    assert [each.is_repeat for each in lab.deliveries()] == [0]


async def test_two_threads_that_save_at_once_lose_nothing(lab: ReportLab) -> None:
    saved: list[str] = []
    may_save = threading.Event()

    def save(what: str) -> None:
        assert may_save.wait(10)
        time.sleep(0.05)  # the other thread looks meanwhile
        saved.append(what)

    with lab.daily() as daily:
        keepers = [asyncio.to_thread(daily._keep, partial(save, what)) for what in ("a", "b", "c")]
        saving = asyncio.gather(*keepers)
        await asyncio.sleep(0.05)
        may_save.set()
        await saving
    assert sorted(saved) == ["a", "b", "c"]


async def test_a_day_that_cannot_be_stored_is_made_when_there_is_room(lab: ReportLab) -> None:
    lab.count(*(tally(f"d{number}.example") for number in range(300)))
    with clock.frozen(MORNING), lab.daily() as daily:
        daily.start()
        pages = daily.store._connection.execute("PRAGMA page_count").fetchone()[0]
        daily.store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="full"):
            await daily.make()
        assert daily.store.totals() == {}
        daily.store._connection.execute("PRAGMA max_page_count = 1000000")
        await daily.make()
        assert daily.store.totals() == {"waiting": 300}


async def test_a_clock_that_jumps_ahead_ends_no_day(lab: ReportLab, running_clock: None) -> None:
    today = MORNING.date()
    with lab.daily() as daily:
        daily.start()
        await daily.make()
        daily.counts.add([tally(day=today)])
        with clock.stepped(timedelta(days=2)):
            await daily.make()
            assert daily.store.totals() == {}
        await daily.make()
        daily.counts.add([tally(day=today)])
        clock.shift(later(1) - datetime.now(MORNING.tzinfo))  # noqa: TID251 - a day passes
        await daily.make()
        [report] = list(daily.store.listing())
        assert report.successes == 10


@pytest.mark.parametrize(("is_synchronised", "hours"), [(True, 0.26), (False, 6.1)])
async def test_a_clock_that_is_ahead_for_good_is_believed_after_a_while(
    lab: ReportLab, running_clock: None, monkeypatch: pytest.MonkeyPatch, is_synchronised: bool, hours: float
) -> None:
    monkeypatch.setattr(clockwatch, "is_synchronised", lambda: is_synchronised)
    lab.count(tally(day=MORNING.date()))
    with lab.daily() as daily:
        daily.start()
        await daily.make()
        with clock.stepped(timedelta(days=2)):
            await daily.make()
            for share in (0.9, 1):
                assert daily.store.totals() == {}
                passed = timedelta(hours=hours * share)
                clock.shift(MORNING + passed - datetime.now(MORNING.tzinfo))  # noqa: TID251
                await daily.make()
        assert daily.store.totals() == {"waiting": 1}


async def test_a_reporter_that_is_started_with_a_clock_days_ahead_makes_no_day_early(
    lab: ReportLab, running_clock: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clockwatch, "is_synchronised", lambda: False)
    for _ in range(2):
        with lab.daily() as daily:
            await daily.make()
            lab.count(tally(day=MORNING.date()))
        with clock.stepped(timedelta(days=3)), lab.daily() as daily:
            await daily.make()
            assert daily.store.totals() == {}
    assert [record.message for record in caplog.records].count("clock-jumped") == 3, "ahead, back, ahead"


@pytest.mark.parametrize(("is_synchronised", "made"), [(False, 0), (True, 1)])
async def test_after_days_without_power_the_kernel_is_asked_about_its_clock(
    lab: ReportLab, running_clock: None, monkeypatch: pytest.MonkeyPatch, is_synchronised: bool, made: int
) -> None:
    monkeypatch.setattr(clockwatch, "is_synchronised", lambda: is_synchronised)
    with lab.daily() as daily:
        await daily.make()
        lab.count(tally(day=MORNING.date()))
    boot = lab.folder / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(clockwatch, "BOOT_ID", boot)
    monkeypatch.setattr(clock, "since_boot", lambda: 100.0 + (clock.now() - MORNING).total_seconds() % 86_400)
    clock.shift(later(3) - datetime.now(MORNING.tzinfo))  # noqa: TID251
    with lab.daily() as daily:
        await daily.make()
        assert len(list(daily.store.listing())) == made
        hours_later = later(3.3)  # long enough for whoever sets clocks right
        clock.shift(hours_later - datetime.now(MORNING.tzinfo))  # noqa: TID251
        await daily.make()
        assert len(list(daily.store.listing())) == 1


async def test_a_day_that_was_made_early_is_told_and_gets_a_supplement(
    lab: ReportLab, running_clock: None, caplog: pytest.LogCaptureFixture
) -> None:
    today = MORNING.date()
    lab.count(tally(day=today, successes=2))
    with (
        clock.stepped(timedelta(days=3)),
        lab.daily() as daily,
    ):  # the first start: nothing tells that it is wrong
        await daily.run_once()
    assert len(lab.relay.mails) == 1
    lab.count(tally(day=today, successes=7))
    with lab.daily() as daily:
        await daily.make()
    [alarm] = [record for record in caplog.records if record.message == "days-reported-early"]
    assert vars(alarm)["days"] == str(today)
    clock.shift(later(1) - datetime.now(MORNING.tzinfo))  # noqa: TID251
    with lab.daily() as daily:
        await daily.run_once()
    [report] = read_mail(lab.relay.mails[1].content).reports
    assert (report.day_utc, report.policies[0].summary.total_successful_session_count) == (today, 7)


def test_the_kernel_says_whether_its_clock_is_synchronised() -> None:
    assert kernelclock.is_synchronised() in (True, False)


async def test_a_clock_that_goes_back_holds_no_report_up(lab: ReportLab) -> None:
    lab.changes["spread_minutes"] = 240
    lab.count(tally())
    with clock.frozen(later(100)), lab.daily() as daily:
        daily.start()
        await daily.make()
    await lab.once(MORNING)
    [delivery] = lab.deliveries()
    assert delivery.next_at == int((MORNING + MAX_WAIT).timestamp())
    await lab.once(MORNING + MAX_WAIT)
    assert len(lab.relay.mails) == 1


async def test_two_reporters_do_not_work_on_one_store(lab: ReportLab) -> None:
    first = await lab.spawn("reporter")
    assert first.stdout is not None
    assert b"reporter-started" in await first.stdout.readline()
    status, output = await lab.command("reporter")
    assert (status, "another process makes the reports" in output) == (2, True)
    first.send_signal(signal.SIGTERM)
    output_bytes, _ = await first.communicate()
    assert first.returncode == 0
    assert b"reporter-stopped" in output_bytes


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = ReportStore(tmp_path / "reports.sqlite3")
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="newer than this Mailward"):
        ReportStore(tmp_path / "reports.sqlite3")
