import json
import logging
import re

import pytest

from mailward.net.log import JsonFormatter, LineFormatter

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "args": args, "levelname": "INFO", **extra})
    return LineFormatter("policy-host").format(record)


def test_a_line_has_time_level_process_event_and_facts() -> None:
    text = line("request", host="mta-sts.example.test", status=200, ms=0.2)
    assert re.fullmatch(
        STAMP + r" INFO policy-host request host=mta-sts\.example\.test status=200 ms=0\.2", text
    )


HOSTILE = [
    ("a b", '"a b"', "a space would start the next fact"),
    ("a\nb", r'"a\nb"', "a line break would start a line"),
    ('a"b', r'"a\"b"', "quotes"),
    ("a=b", '"a=b"', "an equals sign would make a fact"),
    ("\x1b[31m", r'"\u001b[31m"', "escapes of a terminal"),
    ("\u202ex", r'"\u202ex"', "text that runs backwards"),
    ("", '""', "nothing"),
]


@pytest.mark.parametrize("value, shown, reason", HOSTILE)
def test_values_of_strangers_stay_in_their_place(value: str, shown: str, reason: str) -> None:
    assert line("event", value=value).endswith(f" event value={shown}"), reason


def test_long_values_are_cut() -> None:
    assert len(line("event", value="x" * 100_000)) < 600


def test_messages_of_other_libraries_stay_on_one_line() -> None:
    assert line("hello %s", "a\nb").count("\n") == 0


def test_a_json_line_has_the_same_facts() -> None:
    extra = {"msg": "request", "levelname": "INFO", "host": "a\nb", "status": 200, "long": "x" * 100_000}
    text = JsonFormatter("sender").format(logging.makeLogRecord(extra))
    assert "\n" not in text
    line = json.loads(text)
    assert re.fullmatch(STAMP, line.pop("time"))
    assert len(line.pop("long")) < 600
    assert line == {"level": "INFO", "process": "sender", "event": "request", "host": "a\nb", "status": 200}
