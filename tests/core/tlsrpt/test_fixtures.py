"""Our own reports, each with one quirk that senders have, are read as they say."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.make_reports import make_cases

from mailward.core.tlsrpt.deviations import DEVIATIONS, Level
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import Reading, check_strict
from mailward.render.jsonl import jsonl_row, write_jsonl

FOLDER = Path(__file__).parents[2] / "fixtures" / "reports"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROWS = [json.loads(line) for line in (FOLDER / "expected.jsonl").read_text(encoding="utf-8").splitlines()]


def read(name: str) -> Reading | Unreadable:
    try:
        return read_bytes((FOLDER / name).read_bytes(), name=name, now=NOW)
    except Unreadable as error:
        return error


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_it_is_read_as_expected(row: dict[str, Any]) -> None:
    got = json.loads(write_jsonl([jsonl_row(row["file"], read(row["file"]))]))
    assert {key: got[key] for key in row} == row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_strict_reading_objects_to_what_contradicts_the_rfcs_and_nothing_else(row: dict[str, Any]) -> None:
    outcome = read(row["file"])
    objected = check_strict(outcome) if isinstance(outcome, Reading) else ()
    wrong = {slug for slug in row["deviations"] if DEVIATIONS[slug].level is not Level.NOTICE}
    assert {each.slug for each in objected} == (wrong if row["reports"] else set())


def test_every_deviation_has_a_report_that_shows_it() -> None:
    shown = {slug for row in ROWS for slug in row["deviations"]}
    assert set(DEVIATIONS) - shown == set()


def test_the_reports_are_those_that_the_generator_makes() -> None:
    made = {case.file: case.content for case in make_cases()}
    there = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "expected.jsonl"}
    assert there.keys() == made.keys()
    # what is compressed may differ with the version of zlib
    plain = [name for name in made if name.endswith(".json")]
    assert {name: there[name] for name in plain} == {name: made[name] for name in plain}
