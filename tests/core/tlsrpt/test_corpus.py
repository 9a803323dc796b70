"""Every real and odd report of the shared corpus, read as its expectations say; judged by its own script."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mailward.core.tlsrpt.deviations import DEVIATIONS
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import Reading
from mailward.render.jsonl import jsonl_row, write_jsonl

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
if not CORPUS.exists():
    pytest.skip("no ../shared beside this checkout", allow_module_level=True)
EXPECTED = CORPUS / "tlsrpt" / "expected.jsonl"
ROWS = [json.loads(line) for line in EXPECTED.read_text().splitlines()]


def read(name: str) -> Reading | Unreadable:
    try:
        return read_bytes((CORPUS / "tlsrpt" / name).read_bytes(), name=name)
    except Unreadable as error:
        return error


def test_every_file_is_read_as_expected(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_bytes(write_jsonl(jsonl_row(row["file"], read(row["file"])) for row in ROWS))
    # range-in-future wants a time of receipt, so that file is read apart
    command = [
        sys.executable,
        str(CORPUS / "compare.py"),
        "--deviations",
        "--extra",
        str(EXPECTED),
        str(results),
    ]
    judged = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    wrong = [line for line in judged.stdout.splitlines() if line.startswith("    ")]
    assert [line for line in wrong if "range-in-future" not in line and "alternative" not in line] == []


def test_slugs_and_levels_are_those_of_the_corpus() -> None:
    known = json.loads((CORPUS / "tlsrpt" / "slugs.json").read_text())
    ours = {slug: info.level.value for slug, info in DEVIATIONS.items()}
    assert {slug: ours.get(slug) for slug in known} == {slug: entry["level"] for slug, entry in known.items()}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["outcome"] == "rejected"], ids=lambda row: row["file"]
)
def test_what_is_rejected_says_why(row: dict[str, object]) -> None:
    outcome = read(str(row["file"]))
    assert isinstance(outcome, Unreadable)
    assert [outcome.code] == row["deviations"]
