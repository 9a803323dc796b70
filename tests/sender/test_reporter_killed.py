"""Days in which the reporter is killed at random: everybody gets each report, and repeats are marked."""

import asyncio
import json
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.relay import FakeRelay
from tests.fakes.reporthost import ReportHost
from tests.sender.reportlab import DAY, EXPIRED, TLSA, ReportLab, later, ruas, tally

from mailward.config import Dns, Sender
from mailward.core.tlsrpt.counting import Detail
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.schema import Report

DOMAINS, CRASHES = 25, 3
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    async def pause() -> None:
        await asyncio.sleep(0.003)  # there is a moment between taking and saying so

    with FakeRelay(pause=pause) as relay:
        yield relay


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def host(authority: Authority) -> AsyncIterator[ReportHost]:
    async with ReportHost(authority.issue("reports.example")).running() as host:
        yield host


@pytest.fixture
async def lab(tmp_path: Path, relay: FakeRelay, authority: Authority) -> AsyncIterator[ReportLab]:
    async with FakeDns() as dns:
        dns.set("reports.example", "A", "127.0.0.1")
        settings = Dns(resolvers=(dns.address,), allow_private_addresses=True)
        yield ReportLab(tmp_path, relay, sender=Sender(ca_file=str(authority.file)), dns=settings)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.001)


class Week:
    """What was counted, and what arrived."""

    def __init__(self, lab: ReportLab, host: ReportHost, chance: random.Random) -> None:
        self.lab, self.host, self.chance = lab, host, chance
        self.expected: set[tuple[date, str, str]] = set()
        self.sessions: Counter[str] = Counter()

    def count_day(self, day: date) -> None:
        for number in range(DOMAINS):
            domain = f"d{number}.example"
            mail, web = f"mailto:tls@{domain}", f"https://reports.example:{self.host.port}/{domain}"
            names = self.chance.choice([[mail], [web], [mail, web, mail]])
            ok, failed = self.chance.randrange(1, 50), self.chance.randrange(5)
            details = (Detail(EXPIRED, failed),) if failed else ()
            self.lab.count(
                tally(domain, day=day, record=ruas(*names), successes=ok, failures=failed, details=details),
                tally(domain, day=day, record=ruas(*names), policy=TLSA, successes=3),
            )
            self.sessions += Counter({"sts ok": ok, "sts failed": failed, "tlsa ok": 3})
            self.expected |= {(day, domain, rua) for rua in names}

    @property
    def arrived(self) -> int:
        return len(self.lab.relay.mails) + len(self.host.posts)

    async def live_through(self, day: date) -> int:
        """The morning after, with crashes; how often it was really killed."""
        at, killed = later((day - DAY).days), 0
        for _ in range(CRASHES):
            process = await self.lab.spawn("reporter", at=at)
            target = self.arrived + self.chance.randrange(12)
            ended = asyncio.create_task(process.wait())
            with_mail = asyncio.create_task(until(lambda target=target: self.arrived >= target))  # type: ignore[misc]
            await asyncio.wait({ended, with_mail}, timeout=3, return_when=asyncio.FIRST_COMPLETED)
            with_mail.cancel()
            process.send_signal(signal.SIGKILL)
            killed += await ended == -signal.SIGKILL
            at += timedelta(minutes=1)
        status, output = await self.lab.command("reporter", "--once", at=at + timedelta(minutes=1))
        assert status == 0, output
        return killed

    def received(self) -> Iterator[tuple[Report, str, bool]]:
        """Each report that arrived, its rua and whether it is marked as a repeat."""
        for mail in self.lab.relay.mails:
            [report] = read_mail(mail.content).reports
            yield report, f"mailto:{mail.recipients[0]}", b"\r\nX-Mailward-Repeat: " in mail.content
        for post in self.host.posts:
            [report] = read_bytes(post.body).reports
            rua = f"https://reports.example:{self.host.port}{post.target}"
            yield report, rua, "X-Mailward-Repeat" in post.headers


@pytest.mark.parametrize("days", [2, pytest.param(7, marks=pytest.mark.long)])
async def test_days_with_crashes(lab: ReportLab, host: ReportHost, days: int) -> None:
    week, killed = Week(lab, host, random.Random(8460)), 0
    for number in range(days):
        day = DAY + timedelta(days=number)
        week.count_day(day)
        killed += await week.live_through(day)
    assert killed > days
    listed = {(each.day, each.domain, each.rua): each for each in lab.deliveries()}
    assert {each.state for each in listed.values()} == {"delivered"}
    assert set(listed) == week.expected
    copies: Counter[tuple[str, str]] = Counter()
    reports: dict[str, Report] = {}
    for report, rua, is_marked in week.received():
        assert report.report_id is not None
        copies[report.report_id, rua] += 1
        assert is_marked or copies[report.report_id, rua] == 1, "a repeat without its mark"
        assert reports.setdefault(report.report_id, report) == report
    assert len(copies) == len(week.expected)
    marked = sum(each.is_repeat for each in listed.values())
    assert sum(copies.values()) - len(copies) <= marked <= 2 * killed  # one by mail, one by HTTPS in hand
    assert sums(reports.values()) == week.sessions


def sums(reports: Iterable[Report]) -> Counter[str]:
    found: Counter[str] = Counter()
    for report in reports:
        for result in report.policies:
            summary = result.summary
            found[f"{result.policy.policy_type} ok"] += summary.total_successful_session_count or 0
            found[f"{result.policy.policy_type} failed"] += summary.total_failure_session_count or 0
    return +found


def made(lab: ReportLab) -> tuple[int, bool]:
    """Reports of the day so far, and whether that is all."""
    path = lab.settings.tlsrpt_reports_path
    if not path.exists():
        return 0, False
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT reports, is_complete FROM day").fetchone()
    except sqlite3.OperationalError:  # not made yet
        found = None
    connection.close()
    return (found[0], bool(found[1])) if found else (0, False)


async def test_a_day_that_was_cut_off_while_it_was_made_goes_on(lab: ReportLab) -> None:
    lab.changes["spread_minutes"] = 240
    lab.count(*(tally(f"d{number}.example") for number in range(4000)))
    process = await lab.spawn("reporter")
    await until(lambda: made(lab)[0] > 0)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    count, is_complete = made(lab)
    assert 0 < count < 4000, "it was killed in the midst of it"
    assert not is_complete
    await lab.command("reporter", "--once")
    assert made(lab) == (4000, True)
    assert len({each.domain for each in lab.deliveries()}) == 4000


async def test_what_was_cut_off_is_listed_as_possibly_repeated(lab: ReportLab) -> None:
    taken = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def never() -> None:
        loop.call_soon_threadsafe(taken.set)
        await asyncio.sleep(3600)

    lab.relay.pause = never
    lab.count(tally())
    process = await lab.spawn("reporter")
    await asyncio.wait_for(taken.wait(), 30)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    lab.relay.pause = None
    await lab.command("reporter", "--once")
    status, output = await lab.command("reports", "--json")
    assert status == 0
    row = json.loads(output)
    assert (row["state"], row["possibly_repeated"], row["attempts"]) == ("delivered", True, 2)
    assert [b"X-Mailward-Repeat" in mail.content for mail in lab.relay.mails] == [False, True]
