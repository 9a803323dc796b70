"""Each rua on its own: what the other side says decides what becomes of the report, and everybody can see it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from email import message_from_bytes
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.relay import FakeRelay
from tests.fakes.reporthost import TAKEN, ReportHost
from tests.sender.reportlab import DAY, MORNING, ReportLab, later, ruas, tally

from mailward.config import Dns, Sender
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import check_strict
from mailward.net import clock, webpost
from mailward.sender import reporter
from mailward.sender.pace import MAX_ATTEMPTS
from mailward.sender.reportrows import Delivery, State, StoreError

MINUTE = timedelta(minutes=1)


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def host(authority: Authority) -> AsyncIterator[ReportHost]:
    async with ReportHost(authority.issue("reports.example")).running() as host:
        yield host


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as dns:
        dns.set("reports.example", "A", "127.0.0.1")
        dns.set("inside.example", "A", "10.1.2.3")
        yield dns


@pytest.fixture
def lab(tmp_path: Path, relay: FakeRelay, authority: Authority, dns: FakeDns) -> ReportLab:
    settings = Dns(resolvers=(dns.address,), allow_private_addresses=True)
    return ReportLab(tmp_path, relay, sender=Sender(ca_file=str(authority.file)), dns=settings)


def url(host: ReportHost, path: str = "/v1/tls") -> str:
    return f"https://reports.example:{host.port}{path}"


async def test_g5_g11_g15_a_report_is_posted_gzipped_under_its_media_type(
    lab: ReportLab, host: ReportHost
) -> None:
    lab.count(tally(record=ruas(url(host, "/v1/tls?token=1"))))
    await lab.once()
    [post] = host.posts
    assert post.target == "/v1/tls?token=1"
    assert post.headers["Content-Type"] == "application/tlsrpt+gzip"
    assert post.headers["Host"] == f"reports.example:{host.port}"
    reading = read_bytes(post.body)
    assert check_strict(reading) == ()
    assert reading.reports[0].contact_info == "tls-reports@sender.example"
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.outcome) == ("delivered", "it answered 201")


ANSWERS = [
    (TAKEN, "delivered", "it answered 201"),
    (b"HTTP/1.1 200 OK\r\n\r\n", "delivered", "it answered 200"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "delivered", "it answered 204"),
    (b"HTTP/1.1 500 Oops\r\n\r\n", "waiting", "it answered 500"),
    (b"HTTP/1.1 503 Busy\r\n\r\n", "waiting", "it answered 503"),
    (b"HTTP/1.1 429 Slow\r\n\r\n", "waiting", "it answered 429"),
    (b"HTTP/1.1 404 Gone\r\n\r\n", "failed", "it answered 404"),
    (b"HTTP/1.1 401 Who\r\n\r\n", "failed", "it answered 401"),
    (
        b"HTTP/1.1 307 There\r\nLocation: https://reports.example/\r\n\r\n",
        "failed",
        "it answered 307: reports do not follow redirects",
    ),
    (b"", "waiting", "it closed the connection without an answer"),
    (b"220 mail.example ESMTP\r\n", "waiting", "it does not speak HTTP/1.1"),
    (b"HTTP/1.1 999999999999\r\n" + b"x" * 100_000, "waiting", "it answered 999"),
    (b"y" * 100_000, "waiting", "Separator is not found, and chunk exceed the limit"),
]


@pytest.mark.parametrize("answer, state, outcome", ANSWERS, ids=[row[2] for row in ANSWERS])
async def test_g5_the_status_decides(
    lab: ReportLab, host: ReportHost, answer: bytes, state: str, outcome: str
) -> None:
    host.answer = answer
    lab.count(tally(record=ruas(url(host))))
    await lab.once()
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.outcome) == (state, outcome)
    assert len(host.posts) == 1


async def test_a_host_that_hangs_is_left_and_asked_again(
    lab: ReportLab, host: ReportHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webpost, "TOTAL_SECONDS", 0.5)
    host.hangs = True
    lab.count(tally(record=ruas(url(host))), tally("b.example", record=ruas(url(host))))
    await lab.once()
    first, second = sorted(lab.deliveries(), key=lambda each: -each.attempts)
    assert (first.state, first.is_repeat, first.attempts) == ("waiting", 1, 1)
    assert second.outcome.startswith("not tried: the host said to another report")
    host.hangs = False
    await lab.once(MORNING + 6 * MINUTE)
    assert {each.state for each in lab.deliveries()} == {"delivered"}
    marks = [post.headers.get("X-Mailward-Repeat", "")[:8] for post in host.posts]
    assert sorted(marks) == ["", "", "possible"]


async def test_a_store_that_fails_for_one_host_ends_nothing_at_the_others(
    lab: ReportLab, host: ReportHost
) -> None:
    lab.count(tally(record=ruas(url(host), "https://broken.example/")))
    with clock.frozen(MORNING), lab.daily() as daily:
        await daily.make()
        daily.store._connection.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON delivery WHEN old.rua = 'https://broken.example/'"
            " BEGIN SELECT raise(ABORT, 'disk is full'); END"
        )
        with pytest.raises(StoreError, match="full"):
            await daily.post()
        async with asyncio.timeout(10):
            while lab.states()[url(host)] != "delivered":
                with contextlib.suppress(StoreError):
                    await daily.post()
    assert lab.states() == {url(host): "delivered", "https://broken.example/": "waiting"}
    assert len(host.posts) == 1


async def test_what_is_cut_off_at_a_stop_waits_as_possibly_repeated(
    lab: ReportLab, host: ReportHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "LOOK_SECONDS", 0.1)
    host.hangs = True
    lab.count(tally(record=ruas(url(host))))
    with clock.frozen(MORNING), lab.daily() as daily:
        await daily.make()
        posting = asyncio.create_task(daily.post())
        async with asyncio.timeout(10):
            while not host.posts:  # noqa: ASYNC110 - the host has no event for it
                await asyncio.sleep(0.01)
        assert lab.states() == {url(host): "sending"}
        await daily.post()
        assert lab.states() == {url(host): "sending"}, "it is being sent"
        await daily.stop()
        await posting
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.is_repeat, delivery.attempts) == ("waiting", 1, 1)


async def test_a_host_that_hangs_does_not_hold_up_what_becomes_due_for_others(
    lab: ReportLab, host: ReportHost, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "LOOK_SECONDS", 0.1)
    host.hangs = True
    async with ReportHost(authority.issue("reports.example")).running() as other, asyncio.timeout(10):
        lab.count(tally(record=ruas(url(host), url(other))))
        with lab.daily() as daily:
            with clock.frozen(MORNING):
                await daily.make()
                [late] = [each.delivery for each in daily.store.listing() if each.delivery.rua == url(other)]
                daily.store.put_off(late, late.next_at + 60, "", counts=False)
                await daily.post()
            with clock.frozen(MORNING + 2 * MINUTE):
                while not other.posts:
                    await daily.post()
                await daily.post()
            assert lab.states() == {url(host): "sending", url(other): "delivered"}
            await daily.stop()


async def test_each_host_has_its_turn_before_one_has_a_second(
    lab: ReportLab, host: ReportHost, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "HOSTS_AT_ONCE", 1)
    monkeypatch.setattr(reporter, "TURN_SECONDS", 0.0)
    async with ReportHost(authority.issue("reports.example"), posts=host.posts).running() as other:
        lab.count(*(tally(f"a{number}.example", record=ruas(url(host, "/a"))) for number in range(3)))
        lab.count(*(tally(f"b{number}.example", record=ruas(url(other, "/b"))) for number in range(2)))
        await lab.once()
    targets = [post.target for post in host.posts]
    assert sorted(targets) == ["/a", "/a", "/a", "/b", "/b"]
    assert targets[0] != targets[1] != targets[2] != targets[3]


async def test_what_nobody_sends_any_more_is_tried_again_within_bounds(lab: ReportLab) -> None:
    lab.count(tally())
    with clock.frozen(MORNING), lab.daily() as daily:
        await daily.make()
        for attempts in range(1, MAX_ATTEMPTS + 1):
            [delivery] = [each.delivery for each in daily.store.listing()]
            assert (delivery.state, delivery.attempts) == ("waiting", attempts - 1)
            daily.store.mark(delivery, 0)  # and then something of ours went wrong
            await daily.post()
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.is_repeat) == ("failed", 1)


async def test_a_host_that_is_away_is_asked_for_all_its_reports_at_once_and_for_a_day(
    lab: ReportLab, host: ReportHost
) -> None:
    host.answer = b"HTTP/1.1 503 Busy\r\n\r\n"
    lab.count(*(tally(f"d{number}.example", record=ruas(url(host))) for number in range(20)))
    for hours in (0, 1, 2, 3):
        await lab.once(MORNING + timedelta(hours=hours))
    assert len(host.posts) == 4, "one question each time, not twenty"
    assert {each.attempts for each in lab.deliveries()} == {4}
    for hours in range(4, 60, 3):
        await lab.once(MORNING + timedelta(hours=hours))
    assert {each.state for each in lab.deliveries()} == {"failed"}
    assert MAX_ATTEMPTS <= len(host.posts) < 2 * MAX_ATTEMPTS


async def test_who_asks_for_patience_costs_the_others_no_attempt(lab: ReportLab, host: ReportHost) -> None:
    host.answer = b"HTTP/1.1 429 Slow\r\nRetry-After: 60\r\n\r\n"
    lab.count(*(tally(f"d{number}.example", record=ruas(url(host))) for number in range(3)))
    await lab.once()
    assert sorted(each.attempts for each in lab.deliveries()) == [0, 0, 1]


async def test_g16_it_is_tried_for_a_day_with_growing_pauses(lab: ReportLab, host: ReportHost) -> None:
    host.answer = b"HTTP/1.1 503 Busy\r\n\r\n"
    lab.count(tally(record=ruas(url(host))))
    at, pauses = MORNING, []
    while (delivery := await tried(lab, at)).state == "waiting":
        pauses.append(delivery.next_at - at.timestamp())
        at += timedelta(seconds=pauses[-1])
    assert len(host.posts) == MAX_ATTEMPTS
    assert timedelta(hours=24) <= at - MORNING < timedelta(hours=27)
    assert all(1.7 < after / before < 2.3 for before, after in pairwise(pauses[:6]))
    assert (delivery.state, delivery.attempts) == ("failed", MAX_ATTEMPTS)


async def tried(lab: ReportLab, at: datetime) -> Delivery:
    await lab.once(at)
    [delivery] = lab.deliveries()
    return delivery


async def test_what_the_server_asks_for_is_waited_within_a_day(lab: ReportLab, host: ReportHost) -> None:
    for number, (domain, seconds) in enumerate((("a.example", 3600), ("b.example", 10**8))):
        host.answer = b"HTTP/1.1 429 Slow\r\nRetry-After: %d\r\n\r\n" % seconds
        day = DAY + timedelta(days=number)
        lab.count(tally(domain, day=day, record=ruas(url(host))))
        await lab.once(later(number))
        [waiting] = [each for each in lab.deliveries() if each.domain == domain]
        assert waiting.next_at - later(number).timestamp() == min(seconds, 86_400)


async def test_a_certificate_must_be_trusted_unless_the_operator_takes_any(
    lab: ReportLab, authority: Authority
) -> None:
    async with ReportHost(authority.issue("other.example")).running() as host:
        lab.count(tally(record=ruas(url(host))))
        await lab.once()
        [delivery] = lab.deliveries()
        assert delivery.outcome.startswith("its certificate is not trusted: Hostname mismatch")
        assert (delivery.is_repeat, host.posts) == (0, [])
        lab.changes["https_certificate"] = "any"
        await lab.once(MORNING + 6 * MINUTE)
        assert len(host.posts) == 1


async def test_nothing_is_posted_to_a_private_address(lab: ReportLab) -> None:
    lab.dns = msgspec.structs.replace(lab.dns, allow_private_addresses=False)
    lab.count(tally(record=ruas("https://inside.example/tls", "https://127.0.0.1/x")))
    await lab.once()
    assert {(each.state, each.outcome) for each in lab.deliveries()} == {
        ("failed", "10.1.2.3 is a private or reserved address, which is not connected to"),
        ("failed", "127.0.0.1 is a loopback address, which is not connected to"),
    }


async def test_one_rua_that_fails_does_not_hold_up_the_others(lab: ReportLab, host: ReportHost) -> None:
    host.answer = b"HTTP/1.1 404 Gone\r\n\r\n"
    record = ruas(url(host), "https://nowhere.example/", "mailto:tls@shop.example")
    lab.count(tally(record=record))
    await lab.once()
    assert lab.states() == {
        url(host): "failed",
        "https://nowhere.example/": "waiting",
        "mailto:tls@shop.example": "delivered",
    }


async def test_dns_that_is_away_at_midnight_costs_nothing(
    lab: ReportLab, dns: FakeDns, host: ReportHost
) -> None:
    dns.fail(Fault.SERVFAIL)
    lab.count(tally(record=ruas(url(host))))
    await lab.once(MORNING.replace(hour=0, minute=15))
    assert lab.states() == {url(host): "waiting"}
    dns.heal()
    await lab.once(MORNING)
    assert lab.states() == {url(host): "delivered"}


async def test_a_recipient_that_is_refused_has_failed(lab: ReportLab, relay: FakeRelay) -> None:
    relay.refuse_recipient = "tls@shop.example"
    lab.count(tally(), tally("b.example", record=ruas("mailto:tls@b.example")))
    await lab.once()
    outcomes = {each.domain: (each.state, each.outcome) for each in lab.deliveries()}
    assert outcomes == {
        "shop.example": ("failed", "tls@shop.example: 550 5.1.1 no such person"),
        "b.example": ("delivered", "taken by 127.0.0.1"),
    }


async def test_a_mail_server_that_puts_off_is_asked_again(lab: ReportLab, relay: FakeRelay) -> None:
    relay.answer = "451 4.3.0 queue is full"
    lab.count(tally())
    await lab.once()
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.attempts, delivery.is_repeat) == ("waiting", 1, 0)
    relay.answer = ""
    await lab.once(MORNING + 6 * MINUTE)
    assert lab.states() == {"mailto:tls@shop.example": "delivered"}


async def test_while_our_own_mail_server_is_away_no_attempt_is_counted(
    lab: ReportLab, relay: FakeRelay
) -> None:
    lab.changes["smtp_port"] = 9
    lab.count(tally())
    for hours in range(60):
        await lab.once(MORNING + timedelta(hours=hours))
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.attempts) == ("waiting", 0)
    assert "Connection refused" in delivery.outcome
    lab.changes["smtp_port"] = relay.port
    await lab.once(later(3))
    assert len(relay.mails) == 1


@pytest.mark.parametrize(
    "status, state, attempts",
    [
        (0, "delivered", 1),
        (65, "failed", 1),
        (67, "failed", 1),
        (75, "waiting", 1),
        *((ours, "waiting", 0) for ours in (64, 68, 69, 77, 78)),
    ],
)
async def test_the_sendmail_command_says_by_its_status_what_it_did(
    lab: ReportLab, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, state: str, attempts: int
) -> None:
    script = tmp_path / "sendmail"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/mail\nexit {status}\n')
    script.chmod(0o755)
    lab.changes |= {
        "smtp_host": "",
        "sendmail_command": (str(script), "-i"),
        "envelope_sender": "b+*@sender.example",
    }
    lab.count(tally())
    await lab.once()
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.attempts) == (state, attempts)
    told = [record.message for record in caplog.records]
    assert ("report-mail-not-taken" in told) == (attempts == 0)
    words = (tmp_path / "words").read_text().split()
    assert words == ["-i", "-f", f"b+{delivery.token}@sender.example", "--", "tls@shop.example"]
    assert b"\r" not in (tmp_path / "mail").read_bytes()


async def test_status_69_counts_as_an_attempt_where_anothers_report_was_taken_since_the_last(
    lab: ReportLab, tmp_path: Path
) -> None:
    script = tmp_path / "sendmail"
    script.write_text('#!/bin/sh\ncat > /dev/null\ncase "$*" in *tls@bad.example) exit 69;; esac\n')
    script.chmod(0o755)
    lab.changes |= {"smtp_host": "", "sendmail_command": (str(script), "-i")}
    lab.count(tally("bad.example", record=ruas("mailto:tls@bad.example")), tally())
    counted = []
    with lab.daily() as daily:
        for minutes in (0, 10, 20, 60):
            now = MORNING + timedelta(minutes=minutes)
            if minutes == 20:  # another report is taken, after the two attempts before
                daily.store.change("shop.example", None, [State.DELIVERED], State.WAITING, 0)
                with clock.frozen(now - timedelta(minutes=1)):
                    await daily.run_once()
            with clock.frozen(now):
                await daily.run_once()
            counted += [each.attempts for each in lab.deliveries() if each.domain == "bad.example"]
    assert counted == [0, 0, 1, 1]


async def test_the_first_days_see_few_mails(lab: ReportLab, relay: FakeRelay) -> None:
    lab.changes |= {"warm_up_mails_per_hour": 600, "mails_per_hour": 2400}
    lab.count(*(tally(f"shop{number}.example") for number in range(100)))
    went: list[int] = []
    for days in (0, 1, 2, 3):
        await lab.once(later(days))  # each start may send a minute's worth
        went.append(len(relay.mails) - sum(went))
    assert went == [10, 20, 40, 30]


async def test_every_attempt_has_the_same_ids(lab: ReportLab, relay: FakeRelay) -> None:
    lab.count(tally())
    await lab.once()
    with lab.daily() as daily:  # as after a crash that came before the commit
        daily.store.change("shop.example", None, [State.DELIVERED], State.SENDING, 0)
    await lab.once()
    first, second = (message_from_bytes(mail.content) for mail in relay.mails)
    assert (first["Message-ID"], first["Subject"]) == (second["Message-ID"], second["Subject"])
    assert (first["X-Mailward-Repeat"], str(second["X-Mailward-Repeat"])[:8]) == (None, "possible")
    assert [each.is_repeat for each in lab.deliveries()] == [1]
