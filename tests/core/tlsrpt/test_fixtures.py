"""Our own reports, each with one quirk that senders have, are read as they say."""

import json
import re
import subprocess
import sys
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


# a field, a line of the JSON text, a place in the mail, a member of an archive, or the whole
_FIELD = r"[a-z-]+(?:\[\d+\])?"
PLACE = re.compile(
    rf"(?:reports\[\d+\]\.)?{_FIELD}(?:\.{_FIELD})*|line \d+|header\.[A-Za-z-]+|part\[\d+\](?:\.[A-Za-z-]+)?"
    r"|file|body|.+\.(?:json|eml|gz)"
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_each_deviation_says_where_it_is_and_what_rules_it(row: dict[str, Any]) -> None:
    outcome = read(row["file"])
    for each in outcome.deviations if isinstance(outcome, Reading) else ():
        assert PLACE.fullmatch(each.where), each
        assert re.match(r"RFC \d+ §\d", DEVIATIONS[each.slug].section), each


@pytest.mark.parametrize(
    ("text", "slug", "where"),
    [
        ('{"report-id":"a",\n"policies":[]}\n\n}', "trailing-data", "line 4"),
        ('{"report-id":"a",\n"policies":[],\n"contact-info":"\x01"}', "raw-control-chars", "line 3"),
        ('\ufeff{"report-id":"a","policies":[]}', "bom", "line 1"),
        ('[{"report-id":"a","policies":[]}]', "array-top", "line 1"),
        ('{"report-id":"a",\n"report-id":"b","policies":[]}', "duplicate-keys", "report-id"),
    ],
)
def test_what_is_wrong_with_the_text_is_told_by_its_line(text: str, slug: str, where: str) -> None:
    assert (slug, where) in {(each.slug, each.where) for each in read_bytes(text.encode()).deviations}


def test_bytes_that_are_no_utf8_are_told_by_their_line() -> None:
    reading = read_bytes(b'{"report-id":"a",\n"policies":[],\n\n"contact-info":"\xfc"}')
    assert ("not-utf8", "line 4") in {(each.slug, each.where) for each in reading.deviations}


def test_every_slug_of_the_corpus_has_a_report_of_our_own() -> None:
    corpus = Path(__file__).parents[4] / "shared" / "corpus" / "tlsrpt" / "slugs.json"
    if not corpus.exists():
        pytest.skip("no ../shared beside this checkout")
    assert set(json.loads(corpus.read_text())) - {slug for row in ROWS for slug in row["deviations"]} == set()


def test_the_page_about_reading_lists_every_deviation() -> None:
    script = Path(__file__).parents[3] / "scripts" / "write-deviations-table"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-deviations-table"


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
