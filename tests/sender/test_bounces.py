"""Report mail that comes back, and ruas that nothing is sent to any more."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.relay import FakeRelay
from tests.sender.reportlab import DAY, ReportLab, later, tally

from mailward.sender.bounces import read_bounce

# as Postfix 3.7 writes it, shortened
DSN = """\
From: MAILER-DAEMON@sender.example (Mail Delivery System)
To: {recipient}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; sender.example
X-Postfix-Queue-ID: 4ABC

Final-Recipient: rfc822; tls@shop.example
Action: {action}
Status: 5.1.1
Remote-MTA: dns; mx.shop.example
Diagnostic-Code: smtp; 550 5.1.1 <tls@shop.example>: no such
    person

--B
Content-Type: text/rfc822-headers

Message-ID: <{token}@sender.example>

--B--
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ReportLab]:
    with FakeRelay() as relay:
        yield ReportLab(tmp_path, relay, changes={"envelope_sender": "bounces+*@sender.example"})


def dsn(token: str, action: str = "failed", recipient: str = "bounces@sender.example") -> bytes:
    return DSN.format(token=token, action=action, recipient=recipient).encode()


async def come_back(lab: ReportLab, day_number: int, raw: bytes, *words: str) -> str:
    status, output = await lab.command("bounce", *words, at=later(day_number), stdin=raw)
    assert status == 0
    return output


async def test_a_report_that_came_back_is_listed_with_the_reason(lab: ReportLab) -> None:
    lab.count(tally())
    await lab.once()
    [delivery] = lab.deliveries()
    assert lab.relay.mails[0].sender == f"bounces+{delivery.token}@sender.example"
    await come_back(lab, 0, dsn(delivery.token))
    [after] = lab.deliveries()
    assert (after.state, after.outcome) == ("bounced", "smtp; 550 5.1.1 <tls@shop.example>: no such person")


async def test_the_address_that_it_came_back_to_is_enough(lab: ReportLab) -> None:
    lab.count(tally())
    await lab.once()
    [delivery] = lab.deliveries()
    await come_back(lab, 0, dsn("none"), f"bounces+{delivery.token}@sender.example")
    assert lab.states() == {"mailto:tls@shop.example": "bounced"}


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", ""])
async def test_what_is_no_failure_changes_nothing(lab: ReportLab, action: str) -> None:
    lab.count(tally())
    await lab.once()
    [delivery] = lab.deliveries()
    assert "nothing to do" in await come_back(lab, 0, dsn(delivery.token, action))
    assert lab.states() == {"mailto:tls@shop.example": "delivered"}


async def test_a_stranger_cannot_make_a_bounce_up(lab: ReportLab) -> None:
    lab.count(tally())
    await lab.once()
    assert "nothing to do" in await come_back(lab, 0, dsn("0123456789abcdef" * 2))
    assert lab.states() == {"mailto:tls@shop.example": "delivered"}


def test_hostile_mails_are_read_in_bounds() -> None:
    for raw in (
        b"",
        b"\0" * 100,
        b"a" * 5_000_000,
        dsn("x")[:400],
        b"Content-Type: multipart/report\n\n--\n" * 999,
    ):
        assert not read_bounce(raw).is_failure
    many = b" ".join(b"%032x" % number for number in range(1000))
    assert len(read_bounce(many).tokens) == 100


async def bounce_days(lab: ReportLab, first: int, count: int) -> None:
    for number in range(first, first + count):
        day = DAY + timedelta(days=number)
        lab.count(tally(day=day))
        await lab.once(later(number))
        [delivery] = [each for each in lab.deliveries() if each.day == day and each.state == "delivered"]
        await come_back(lab, number, dsn(delivery.token))


async def test_after_some_days_nothing_is_sent_there_until_the_operator_says_so(lab: ReportLab) -> None:
    lab.changes["suppress_after_days"] = 3
    await bounce_days(lab, 0, 3)
    lab.count(tally(day=DAY + timedelta(days=3)))
    await lab.once(later(3))
    assert len(lab.relay.mails) == 3
    status, output = await lab.command("reports", "--suppressed", at=later(3))
    assert (status, output.count("\n")) == (0, 1)
    assert "mailto:tls@shop.example\t" in output
    assert "3 days without success, the last: smtp; 550 5.1.1" in output
    status, output = await lab.command("reports", "--unsuppress", "mailto:tls@shop.example", at=later(3))
    assert (status, output) == (0, "Sent to again: mailto:tls@shop.example\n")
    await lab.once(later(3.5))  # the command's clock runs on
    assert len(lab.relay.mails) == 4


async def test_a_suppression_ends_by_itself(lab: ReportLab) -> None:
    lab.changes |= {"suppress_after_days": 1, "suppress_days": 10}
    await bounce_days(lab, 0, 1)
    for number in (5, 11):
        lab.count(tally(day=DAY + timedelta(days=number)))
        await lab.once(later(number))
    assert len(lab.relay.mails) == 2


async def test_a_day_that_was_delivered_in_between_begins_the_count_anew(lab: ReportLab) -> None:
    lab.changes["suppress_after_days"] = 3
    await bounce_days(lab, 0, 2)
    lab.count(tally(day=DAY + timedelta(days=2)))
    await lab.once(later(2))
    await bounce_days(lab, 3, 2)
    status, output = await lab.command("reports", "--suppressed", at=later(5))
    assert (status, output) == (0, "")


async def test_refused_recipients_are_suppressed_too(lab: ReportLab) -> None:
    lab.changes["suppress_after_days"] = 2
    lab.relay.refuse_recipient = "tls@shop.example"
    for number in range(3):
        lab.count(tally(day=DAY + timedelta(days=number)))
        await lab.once(later(number))
    assert sorted(each.state for each in lab.deliveries()) == ["failed", "failed", "suppressed"]


async def test_a_bounce_that_cannot_be_taken_in_now_comes_again(lab: ReportLab) -> None:
    status, output = await lab.command("bounce", stdin=dsn("0123456789abcdef" * 2))
    assert (status, "There are no reports" in output) == (75, True)  # EX_TEMPFAIL
