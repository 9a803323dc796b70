import json
import logging
import os
import re
from pathlib import Path
from typing import TextIO

import pytest

from mailward.net.log import JsonFormatter, LineFormatter, configure

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


def test_lines_for_the_journal_carry_their_priority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure_and_log(stream)
        stream.seek(0)
        lines = stream.read().splitlines()
    assert lines[0].endswith(" WARNING sender told")
    assert lines[1].endswith(" ERROR sender crashed")
    assert [line[:3] for line in lines] == ["<4>", *["<3>"] * (len(lines) - 1)]
    assert len(lines) > 3, "a trace is many lines"


def test_lines_for_anything_else_have_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    with (tmp_path / "stream").open("w+") as stream:
        configure_and_log(stream)
        stream.seek(0)
        assert stream.read()[:2] == "20"


def configure_and_log(stream: TextIO) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        configure("sender", stream=stream)
        logging.getLogger("mailward.test").warning("told")
        try:
            raise ValueError("a mistake")
        except ValueError:
            logging.getLogger("mailward.test").exception("crashed")
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(capture=False)
