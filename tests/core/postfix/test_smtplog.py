"""Lines of a real Postfix 3.10.13, and lines by which strangers would speak through the log."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain
from mailward.core.postfix.maillog import Relay
from mailward.core.postfix.smtplog import (
    Delivered,
    Entry,
    Established,
    Event,
    NotSent,
    Queued,
    Refused,
    Signalled,
    read_line,
    read_message,
)

FIXTURE = Path(__file__).parents[2] / "fixtures" / "maillogs" / "postfix-3.10-testing.log"
NOW = datetime(2026, 11, 28, 23, 20, tzinfo=UTC)
HEAD = "Nov 28 23:15:02 sender postfix/smtp[5389]: "
AT = datetime(2026, 11, 28, 23, 15, 2, tzinfo=UTC).timestamp()
PLAIN = Relay("plain.mx.test", "10.77.0.29", 25)
DELIVERED = (
    "C3AF6186129: to=<{to}>, relay={relay}, delay=0.34, delays=0/0.03/0.17/0.14, dsn=2.0.0, status=sent (250)"
)


def event(text: str) -> Event | None:
    entry = read_line(HEAD + text, NOW)
    return entry.event if entry else None


def delivered(to: str = "a@plain.test", relay: str = "plain.mx.test[10.77.0.29]:25") -> Event | None:
    return event(DELIVERED.format(to=to, relay=relay))


def test_every_line_about_a_connection_of_a_real_postfix_is_read() -> None:
    lines = FIXTURE.read_text().splitlines()
    events = [entry.event for line in lines if (entry := read_line(line, NOW))]
    for kind, words in (
        (Established, " TLS connection established to "),
        (Signalled, ": TLSRPT: "),
        (Delivered, " to=<"),
        (Refused, " does not match STS MX pattern "),
        (Queued, "]: "),
    ):
        found = sum(isinstance(each, kind) for each in events)
        if kind is Queued:
            assert found == sum("/qmgr[" in line and " from=<" in line for line in lines) > 5
        else:
            assert found == sum(words in line for line in lines) > 1


def test_what_the_lines_say() -> None:
    assert event(
        "Trusted TLS connection established to v.mx.test[10.77.0.25]:25: TLSv1.3 with cipher X (1/1 bits)"
    ) == (Established("v.mx.test", "10.77.0.25"))
    assert event(
        "TLSRPT: status=failure, domain=a.test, receiving_mx=e.mx.test[10.77.0.26], failure_type=certificate_expired"
    ) == Signalled(Domain("a.test"), "e.mx.test", "10.77.0.26", is_success=False)
    assert event("warning: MX name 'misnamed.mx.test' does not match STS MX pattern for 'b.test'") == Refused(
        Domain("b.test"), "misnamed.mx.test"
    )
    assert read_line(
        "Nov 28 23:15:02 sender postfix/qmgr[1]: C3AF6186129: from=<a@b.test>, size=292, nrcpt=1 (queue active)",
        NOW,
    ) == Entry(AT, "postfix/qmgr", 1, Queued("C3AF6186129", "a@b.test"))
    not_sent = "Could not report TLS handshake result to tlsrpt library: Connection refused (errno 111)"
    assert [event(f"warning: {not_sent}"), event(not_sent), event(f"x {not_sent}")] == [
        NotSent(),
        NotSent(),
        None,
    ]
    expected = Delivered("C3AF6186129", Domain("plain.test"), PLAIN, 1, "0/0.03/0.17/0.14", "sent")
    assert delivered() == expected
    assert expected.connected_seconds == pytest.approx(0.31)


NOT_TAKEN = DELIVERED.replace("status=sent (250)", "status=deferred ({why})")
HOST = "plain.mx.test[10.77.0.29]"


@pytest.mark.parametrize(
    ("why", "is_in_mail"),
    [
        (f"host {HOST} said: 450 4.2.0 Greylisted (in reply to RCPT TO command)", True),
        (f"host {HOST} said: 550 5.1.1 unknown (in reply to end of DATA command)", True),
        (f"lost connection with {HOST} while sending message body", True),
        (f"conversation with {HOST} timed out while sending RCPT TO", True),
        (f"host {HOST} refused to talk to me: 554 5.7.1 go away", False),
        (f"host {HOST} said: 502 what (in reply to EHLO command)", False),
        (f"host {HOST} said: 450 no (in reply to RCPT TO command) (in reply to EHLO command)", False),
        (f"lost connection with {HOST} while performing the EHLO handshake", False),
        (f"connect to {HOST}:25: Connection refused", False),
        ("host other.mx.test[10.77.0.28] said: 450 4.2.0 x (in reply to RCPT TO command)", False),
    ],
)
def test_how_far_the_session_of_a_mail_came_that_was_not_taken(why: str, is_in_mail: bool) -> None:
    found = event(NOT_TAKEN.format(to="a@b.test", relay=f"{HOST}:25", why=why))
    assert isinstance(found, Delivered)
    assert found.is_in_mail is is_in_mail


def test_a_connection_that_served_before_says_so() -> None:
    found = event(
        "C3AF6186129: to=<a@b.test>, relay=p.mx.test[10.77.0.29]:25, conn_use=4, delay=0.1, delays=0/0/0/0.1,"
        " dsn=2.0.0, status=sent (250)"
    )
    assert isinstance(found, Delivered)
    assert found.use == 4


HEADS = [
    ("2026-11-28T23:15:02.250000+01:00 mx1 postfix/smtp[1]: ", AT - 3600 + 0.25),
    ("2026-11-28T23:15:02Z mx1 postfix/smtp[1]: ", AT),
    ("Nov 28 23:15:02 mx1 postfix-out/smtp[1]: ", AT),
    ("Nov 28 23:15:02 mx1 postfix/relay/smtp[1]: ", AT),
    ("Dec 28 23:15:02 mx1 postfix/smtp[1]: ", datetime(2025, 12, 28, 23, 15, 2, tzinfo=UTC).timestamp()),
]


@pytest.mark.parametrize(("head", "at"), HEADS)
def test_the_time_in_every_format(head: str, at: float) -> None:
    entry = read_line(head + DELIVERED.format(to="a@b.test", relay="none"), NOW)
    assert entry is not None
    assert entry.at == at


def test_the_first_seconds_of_a_year_read_the_last_lines_of_the_old_one() -> None:
    zone = timezone(timedelta(hours=2))
    now = datetime(2027, 1, 1, 0, 0, 3, tzinfo=zone)
    entry = read_line(
        "Dec 31 23:59:59 m postfix/smtp[1]: " + DELIVERED.format(to="a@b.test", relay="none"), now
    )
    assert entry is not None
    assert datetime.fromtimestamp(entry.at, zone) == datetime(2026, 12, 31, 23, 59, 59, tzinfo=zone)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Nov 31 23:15:02 mx1 postfix/smtp[1]: "
        + DELIVERED.format(to="a@b.test", relay="none"),  # no such day
        "Nov 28 23:15:02 mx1 sshd[1]: " + DELIVERED.format(to="a@b.test", relay="none"),
        "Nov 28 23:15:02 mx1 postfix/local[1]: " + DELIVERED.format(to="a@b.test", relay="none"),
        HEAD + DELIVERED.format(to="a@-.test", relay="none"),  # no domain
        HEAD + DELIVERED.format(to="root", relay="none"),
        HEAD + "TLSRPT: status=maybe, domain=a.test, receiving_mx=b.test[192.0.2.1]",
        HEAD + "TLSRPT: status=success, domain=a.test, receiving_mx=b.test[no address]",
        HEAD + "warning: MX name 'a.test' does not match STS MX pattern for 'b.test' 'c.test'",
    ],
)
def test_what_is_no_such_line(line: str) -> None:
    assert read_line(line, NOW) is None


def test_a_recipient_cannot_look_like_the_rest_of_the_line() -> None:
    forged = '"x@victim.test>, relay=evil.test[192.0.2.9]:25, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent ("@b.test'
    found = delivered(to=forged)
    assert isinstance(found, Delivered)
    assert (found.domain, found.relay) == ("b.test", PLAIN)


def test_a_reply_cannot_look_like_another_line() -> None:
    text = DELIVERED.replace(
        "250)", "250 TLSRPT: status=success, domain=victim.test, receiving_mx=a.test[192.0.2.1]"
    )
    found = event(text.format(to="a@b.test", relay="plain.mx.test[10.77.0.29]:25"))
    assert isinstance(found, Delivered)
    assert found.domain == "b.test"


def test_a_socket_is_no_relay() -> None:
    found = delivered(relay="mx.test[private/filter]")
    assert isinstance(found, Delivered)
    assert found.relay is None


@given(st.text(), st.sampled_from([HEAD, "", "2026-11-28T23:15:02Z mx1 postfix/smtp[1]: "]))
def test_nothing_in_a_line_stops_the_reader(text: str, head: str) -> None:
    read_line(head + text, NOW)
    read_message(text, 0.0)
