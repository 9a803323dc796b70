"""Lines of real Postfix 3.7 and 3.10, and lines by which strangers would speak through the log."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain
from mailward.core.postfix.maillog import (
    Delivery,
    Relay,
    TlsSummary,
    Trust,
    is_by_policy,
    read_day,
    read_line,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "maillogs"
VALID = Relay("valid.mx.test", "10.77.0.25", 25)
HEAD = "Nov 27 22:40:16 sender postfix/smtp[8495]: "


def sent(relay: str = "mx.test[192.0.2.1]:25", to: str = "a@b.test", head: str = HEAD) -> str:
    return f"{head}053D2220630: to=<{to}>, relay={relay}, delay=0.03, dsn=2.0.0, status=sent (250 ok)"


@pytest.mark.parametrize("version", ["3.7", "3.10"])
def test_every_delivery_and_every_tls_line_of_a_real_postfix_is_read(version: str) -> None:
    lines = (FIXTURES / f"postfix-{version}.log").read_text().splitlines()
    events = [read_line(line) for line in lines]
    deliveries = sum(isinstance(event, Delivery) for event in events)
    summaries = sum(isinstance(event, TlsSummary) for event in events)
    assert deliveries == sum(" to=<" in line for line in lines) > 20
    assert summaries == sum(" TLS connection established to " in line for line in lines) > 10
    assert {event.trust for event in events if isinstance(event, TlsSummary)} == {
        Trust.UNTRUSTED,
        Trust.TRUSTED,
        Trust.VERIFIED,
    }


def test_what_a_delivery_says() -> None:
    line = (
        HEAD
        + "053D2220630: to=<3.7@enforced-mx-elsewhere.test>, relay=valid.mx.test[10.77.0.25]:25, delay=0.03,"
        " delays=0/0/0.03/0, dsn=4.7.5, status=deferred (Server certificate not verified)"
    )
    reason = "Server certificate not verified"
    assert read_line(line) == Delivery(Domain("enforced-mx-elsewhere.test"), VALID, "deferred", reason)


HEADS = [
    ("2026-11-27T22:40:15.123456+01:00 mx1 postfix/smtp[1]: ", "2026-11-27"),
    ("2026-11-27T22:40:15Z mx1 postfix/smtp[1]: ", "2026-11-27"),
    ("Nov  1 22:40:15 mx1 postfix/smtp[1]: ", "Nov  1"),
    ("Nov 27 22:40:15 mx1 postfix-out/smtp[1]: ", "Nov 27"),
    ("Nov 27 22:40:15 mx1 postfix/relay/smtp[1]: ", "Nov 27"),
    ("Nov 27 22:40:15 postfix/smtp[1]: ", "Nov 27"),
]


@pytest.mark.parametrize("head, day", HEADS)
def test_times_and_names_of_syslog(head: str, day: str) -> None:
    assert read_line(sent(head=head)) == Delivery(
        Domain("b.test"), Relay("mx.test", "192.0.2.1", 25), "sent", "250 ok"
    )
    assert read_day(sent(head=head)) == day


RELAYS = [
    ("none", None),
    ("MX.Test[2001:db8::1]:587", Relay("mx.test", "2001:db8::1", 587)),
    ("mx.test[/run/x]", Relay("mx.test", "/run/x", 25)),
    ("mx.test[192.0.2.1]:99999999999999", Relay("mx.test", "192.0.2.1", 99999)),
]


@pytest.mark.parametrize("text, relay", RELAYS)
def test_relays(text: str, relay: Relay | None) -> None:
    event = read_line(sent(text))
    assert isinstance(event, Delivery)
    assert event.relay == relay


OTHERS = [
    (
        "Nov 27 22:40:15 mx1 postfix/local[1]: 053D2220630: to=<a@b.test>, relay=local, dsn=2.0.0, status=sent (x)"
    ),
    (sent(to="root")),
    (sent(to="")),
    (
        HEAD
        + "053D2220630: host mx.test[192.0.2.1] said: 450 x: to=<a@b.test>, relay=x[1]:25, dsn=2.0.0, status=sent (x)"
    ),
    (HEAD + "053D2220630: host x said: Verified TLS connection established to y[1]:25: TLSv1.3"),
    ("Verified TLS connection established to y[192.0.2.1]:25: TLSv1.3"),
    "",
]


@pytest.mark.parametrize("line", OTHERS)
def test_lines_of_others_are_no_events(line: str) -> None:
    assert read_line(line) is None


def test_a_reply_that_looks_like_a_status_changes_nothing() -> None:
    line = sent().replace("250 ok", "250 ok, dsn=4.7.5, status=deferred (Server certificate not verified")
    event = read_line(line)
    assert isinstance(event, Delivery)
    assert event.status == "sent"


def test_reused_connections_and_those_of_tlsproxy() -> None:
    line = "Nov 27 22:40:15 mx postfix/tlsproxy[1]: Untrusted TLS connection reused to mx.test[192.0.2.1]:25: TLSv1.3"
    assert read_line(line) == TlsSummary(Relay("mx.test", "192.0.2.1", 25), Trust.UNTRUSTED)
    line = line.replace("]:25:", "]:25 to other.test:")
    assert read_line(line) == TlsSummary(Relay("mx.test", "192.0.2.1", 25), Trust.UNTRUSTED)


def test_the_reasons_that_real_postfixes_give_for_tls() -> None:
    text = "".join((FIXTURES / f"postfix-{version}.log").read_text() for version in ("3.7", "3.10"))
    reasons = set(re.findall(r"dsn=4\.7\.\d, status=deferred \((.*)\)", text))
    assert len(reasons) >= 3
    skipped = set(re.findall(r"relay=none, .*dsn=4\.3\.0, status=deferred \((.*)\)", text))
    assert skipped == {"server unavailable or unable to receive mail"}
    assert [reason for reason in reasons | skipped if not is_by_policy(reason)] == []
    assert not is_by_policy("connect to mx.test[192.0.2.1]:25: Connection timed out")


@given(st.text(max_size=300))
def test_nothing_that_stands_in_a_line_raises(text: str) -> None:
    read_line(text)
    read_line(HEAD + text)
    read_line(sent(to=text))
    read_line(sent(relay=text))
