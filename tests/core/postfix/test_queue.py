import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain
from mailward.core.postfix.queue import Waiting, parse_time, read_line

REASON = "Server certificate not verified"


def line(*recipients: tuple[str, str], arrival: int = 1_700_000_000) -> bytes:
    """As postqueue(1) shows it."""
    rows = [{"address": address, "delay_reason": reason} for address, reason in recipients]
    return json.dumps(
        {
            "queue_name": "deferred",
            "queue_id": "1A2B3",
            "arrival_time": arrival,
            "message_size": 303,
            "forced_expire": False,
            "sender": "alice@sender.test",
            "recipients": rows,
        }
    ).encode()


def test_what_waits_because_of_tls_is_told_once_a_domain() -> None:
    found = read_line(line(("a@x.test", REASON), ("b@X.test", REASON), ("c@y.test", "connection timed out")))
    assert found == [Waiting(Domain("x.test"), 1_700_000_000, REASON)]


BAD = [b"", b"{", b"[]", b'{"arrival_time": "x", "recipients": []}', line(("root", REASON)), b" " * 2_000_000]


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_read_is_nothing(text: bytes) -> None:
    assert read_line(text) == []


def test_what_could_drive_a_terminal_is_left_out() -> None:
    [found] = read_line(line(("a@x.test", f"{REASON}\x1b[31m\nx")))
    assert found.reason == f"{REASON}[31mx"


@given(st.binary(max_size=500))
def test_nothing_raises(text: bytes) -> None:
    read_line(text)


TIMES = [
    ("5d", 432_000),
    ("5", 432_000),
    ("4h\n", 14_400),
    ("1w", 604_800),
    ("30m", 1800),
    ("9s", 9),
    ("x", None),
]


@pytest.mark.parametrize("text, seconds", TIMES)
def test_times_as_postfix_writes_them(text: str, seconds: int | None) -> None:
    assert parse_time(text) == seconds
