"""The operator hears once of each cause; a real daemon's parts, a queue that a script prints."""

import datetime as dt
import json
import logging
import stat
import sys
import tomllib
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from tests.core.postfix.test_queue import REASON, line
from tests.fakes.dns import Fault
from tests.net.test_webpost import server
from tests.sender.lab import DOMAIN, Lab
from tests.sender.test_answers import ask

from mailward.config import Tlsrpt
from mailward.core.names import Domain
from mailward.core.sending.notice import MAX_LISTED, Cause, Kind, body, make_override, subject
from mailward.core.sending.overrides import Action, parse_overrides
from mailward.net import clock
from mailward.sender.daemon import Daemon
from mailward.sender.notices import FORGET_SECONDS, Told
from mailward.sender.reportrows import Delivery, NewDelivery, NewReport, State
from mailward.sender.reportstore import ReportStore

TODAY = dt.date(2026, 11, 27)


class Site:
    """A lab with a queue to be printed and a mail command that keeps what it gets."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.queue = lab.folder / "queue.json"
        self.mails = lab.folder / "mails"
        self.mails.mkdir()
        script = lab.folder / "sendmail"
        script.write_text(
            f"#!{sys.executable}\nimport pathlib, sys, time\n"
            f"folder = pathlib.Path({str(self.mails)!r})\n"
            "words = ' '.join(sys.argv[1:]).encode()\n"
            "(folder / str(time.time_ns())).write_bytes(words + b'\\n' + sys.stdin.buffer.read())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        self.command = (str(script), "-i", "--")

    def wait(self, *lines: bytes) -> None:
        self.queue.write_bytes(b"\n".join(lines) + b"\n")

    def daemon(self, **changes: object) -> Daemon:
        values: dict[str, object] = {
            "queue_command": ("cat", str(self.queue)),
            "notice_mail": ("ops@example.test",),
            "notice_mail_command": self.command,
        }
        return self.lab.daemon(**(values | changes))

    def read_mails(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.mails.iterdir())]


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site(lab)


def waiting(count: int = 1, domain: str = DOMAIN) -> list[bytes]:
    arrival = int(clock.now().timestamp()) - 7300
    return [line((f"a{number}@{domain}", REASON), arrival=arrival) for number in range(count)]


async def test_mail_that_waits_because_of_us_is_told_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.lab.publish()
    daemon = site.daemon()
    site.wait(*waiting(3))
    with caplog.at_level(logging.WARNING):
        await daemon.notices.look()
        await daemon.notices.look()
    records = [record for record in caplog.records if record.message == "mail-deferred"]
    assert [(vars(record)["domain"], vars(record)["messages"]) for record in records] == [(DOMAIN, 3)]
    [raw] = site.read_mails()
    arguments, _, text = raw.partition(b"\n")
    assert arguments == b"-i -- ops@example.test"
    mail = message_from_bytes(text, policy=policy.default)
    assert mail["Subject"] == f"Mailward: mail to {DOMAIN} waits because of policy"
    assert mail["Auto-Submitted"] == "auto-generated"
    content = mail.get_content()
    assert f"{DOMAIN}: 3 messages wait, the oldest for 2 hours" in content
    assert "Decided: sts-enforce: an enforcing MTA-STS policy" in content
    assert f'    domain = "{DOMAIN}"\n'.encode() in raw  # to be copied as it is
    assert daemon.notices.deferred["sts-enforce"].messages == 3
    await daemon.knowledge.close()


async def test_a_restart_tells_nothing_again(site: Site) -> None:
    site.lab.publish()
    site.wait(*waiting())
    for _ in range(2):
        daemon = site.daemon()
        await daemon.notices.look()
        await daemon.knowledge.close()
    assert len(site.read_mails()) == 1


async def test_mail_that_waits_by_the_sites_own_rules_is_not_our_news(site: Site) -> None:
    daemon = site.daemon()
    site.wait(*waiting(domain="nothing.test"))
    await daemon.notices.look()
    assert (site.read_mails(), daemon.notices.deferred) == ([], {})
    await daemon.knowledge.close()


async def test_mail_that_waits_since_the_policy_names_no_mx_host_is_told(site: Site) -> None:
    site.lab.publish()
    daemon = site.daemon()
    site.wait(line((f"a@{DOMAIN}", "server unavailable or unable to receive mail")))  # of Postfix 3.10
    await daemon.notices.look()
    [raw] = site.read_mails()
    content = message_from_bytes(raw.partition(b"\n")[2], policy=policy.default).get_content()
    assert "unable to receive mail: no MX host is one that the policy names\n" in content
    await daemon.knowledge.close()


@pytest.mark.parametrize(("level", "rows"), [("may", ["dane-unknown"]), ("dane", [])])
async def test_mail_that_waits_by_dane_is_told_where_dane_is_our_word(
    site: Site, level: str, rows: list[str]
) -> None:
    site.lab.sign()
    site.lab.dns.fail(Fault.SERVFAIL, f"_25._tcp.mx.{DOMAIN}", "TLSA")
    daemon = site.daemon(default_level=level)
    daemon.knowledge.dane.is_on = True
    site.wait(line((f"a@{DOMAIN}", f"TLSA lookup error for mx.{DOMAIN}:25")))
    await daemon.notices.look()
    assert list(daemon.notices.deferred) == rows
    await daemon.knowledge.close()


async def test_our_own_deferral_is_told_with_its_reason(site: Site) -> None:
    site.lab.publish(body=b"version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 604800\n")
    daemon = site.daemon()
    site.wait(line((f"a@{DOMAIN}", "client TLS configuration problem")))
    await daemon.notices.look()
    [raw] = site.read_mails()
    assert b"Cause: the policy enforces, but names no host that mail could go to\n" in raw
    await daemon.knowledge.close()


async def test_what_could_not_be_sent_is_sent_the_next_time(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.lab.publish()
    site.wait(*waiting())
    broken = site.daemon(notice_mail_command=("/bin/false",))
    await broken.notices.look()
    await broken.knowledge.close()
    assert any(record.message == "notice-not-sent" for record in caplog.records)
    daemon = site.daemon()
    await daemon.notices.look()
    await daemon.knowledge.close()
    assert len(site.read_mails()) == 1


async def test_a_webhook_gets_the_causes_as_json(site: Site) -> None:
    site.lab.publish()
    site.wait(*waiting())
    seen: list[bytes] = []
    site.lab.dns.set("hook.test", "A", "127.0.0.1")
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", seen) as port:
        daemon = site.daemon(notice_mail=(), notice_webhook=f"http://hook.test:{port}/hook")
        await daemon.notices.look()
        await daemon.knowledge.close()
    document = json.loads(seen[0].partition(b"\r\n\r\n")[2])
    [cause] = document["causes"]
    assert (cause["kind"], cause["domain"], cause["row"]) == ("mail-deferred", DOMAIN, "sts-enforce")


async def test_a_queue_that_cannot_be_seen_is_said_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    daemon = site.daemon(queue_command=("/nowhere/postqueue", "-j"))
    await daemon.notices.look()
    await daemon.notices.look()
    assert [record.message for record in caplog.records].count("queue-not-seen") == 1
    await daemon.knowledge.close()


async def test_why_a_queue_cannot_be_seen_is_what_its_program_says(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    program = "echo 'postqueue: fatal: mail system is down' >&2; exit 69"
    daemon = site.daemon(queue_command=("sh", "-c", program))
    await daemon.notices.look()
    assert vars(caplog.records[-1])["reason"].endswith(": postqueue: fatal: mail system is down")
    await daemon.knowledge.close()


async def test_a_policy_that_cannot_be_refreshed_for_days_is_told(site: Site) -> None:
    site.lab.publish()
    daemon = site.daemon(queue_command=())
    await ask(daemon)
    site.lab.publish("2", b"")
    with clock.frozen(clock.now() + dt.timedelta(days=3)):
        await daemon.knowledge.refresh(Domain(DOMAIN))
        await daemon.notices.look()
    [raw] = site.read_mails()
    assert f"Subject: Mailward: the policy of {DOMAIN} cannot be refreshed\n".encode() in raw
    assert f"{DOMAIN}: its policy cannot be fetched anew, and ends in ".encode() in raw
    await daemon.knowledge.close()


REPORTS = NewReport(
    "shop.example", "1", b"", 1, 0, 0, "", [NewDelivery("mailto:tls@a.test", "tls@a.test", 0, 0)]
)


async def test_reports_that_are_not_delivered_are_told_once_and_again_when_their_rua_is_suppressed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.lab.tlsrpt = Tlsrpt(contact="tls@site.test")
    daemon = site.daemon(queue_command=())
    store = ReportStore(site.lab.settings().tlsrpt_reports_path)
    today, now = clock.today(), int(clock.now().timestamp())

    def deliver(days_ago: int, state: State) -> Delivery:
        store.add_reports(today - dt.timedelta(days=days_ago), 0, [REPORTS], "z", 0, now, complete=True)
        [delivery] = store.due(now, 10)
        assert store.mark(delivery, now)
        store.finish(delivery, state, "550 5.1.1 no such user")
        return delivery

    deliver(5, State.DELIVERED)
    await daemon.notices.look()
    assert site.read_mails() == []
    for days_ago in (4, 3):
        last = deliver(days_ago, State.FAILED)
        await daemon.notices.look()
    [raw] = site.read_mails()
    assert b"Subject: Mailward: TLS reports about shop.example are not delivered\n" in raw
    assert b"mailto:tls@a.test: the last TLS report about shop.example was not delivered" in raw
    assert store.suppress_if_bad(last, 2, now + 30 * 86_400 + 3600, now)
    for _ in range(2):
        await daemon.notices.look()
    _, raw = site.read_mails()
    assert b"nothing is sent there for 30 days" in raw
    assert b"Cause: 2 days without success, the last: 550 5.1.1 no such user" in raw
    told = [record.message for record in caplog.records if record.message.startswith("reports-")]
    assert told == ["reports-undelivered", "reports-suppressed"]
    store.close()
    await daemon.knowledge.close()


def cause(domain: str = DOMAIN, reason: str = REASON) -> Cause:
    return Cause(Kind.DEFERRED, Domain(domain), "sts-enforce", reason, "x", 1, 7200, 432_000)


@pytest.mark.parametrize("reason", [REASON, 'a"b\\c\nd', ""])
def test_the_override_that_is_shown_can_be_used_as_it_is(reason: str) -> None:
    [override] = parse_overrides(make_override(cause(reason=reason), TODAY))
    assert (override.domain, override.action, override.until) == (DOMAIN, Action.RELAX, dt.date(2026, 12, 4))
    assert tomllib.loads(make_override(cause(), TODAY))


def test_a_message_names_some_and_counts_the_rest() -> None:
    causes = [cause(f"d{number}.test") for number in range(MAX_LISTED + 5)]
    text = body(causes, TODAY, "/etc/o.toml")
    assert "And 5 more: " in text
    assert "put into /etc/o.toml:\n    [[override]]\n" in text
    assert "1 message waits, the oldest for 2 hours; after 5 days it is given back." in text
    assert subject(causes) == "Mailward: mail to d0.test and 24 more waits because of policy"


def test_what_was_away_for_long_is_told_again_and_a_broken_file_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    path.write_text("{")
    told = Told(path)
    assert told.is_new("log", cause(), 100)
    told.note("log", [cause()], 100)
    told.save(100)
    assert not Told(path).is_new("log", cause(), 200)
    again = Told(path)
    again.save(100 + FORGET_SECONDS)
    assert Told(path).is_new("log", cause(), 100 + FORGET_SECONDS)
