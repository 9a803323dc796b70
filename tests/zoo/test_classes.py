"""Every fault class of standards.md has a row, or a reason for having none."""

import re
from pathlib import Path

import pytest
from tests.zoo.classes import CLASSES, PAGE, WITHOUT_ROW, classes, page, shown_by
from tests.zoo.rows import Row, read_rows

STANDARDS = Path(__file__).parents[3] / "shared/standards.md"
ROWS = read_rows()


def test_the_classes_are_those_of_the_standards() -> None:
    if not STANDARDS.exists():
        pytest.skip("../shared is not there")
    section = STANDARDS.read_text().partition("**Error classes**")[2].partition("\n## ")[0]
    assert set(re.findall(r"(?:^|[ \n])([thpcmdrl]\d{1,2}) ", section)) == set(classes())


def test_every_class_has_a_row_or_a_reason() -> None:
    shown = {each for row in ROWS for each in shown_by(row)}
    assert shown | set(WITHOUT_ROW) == set(classes())
    assert not shown & set(WITHOUT_ROW)
    assert len(shown) >= 80  # of some hundred, as the issue asks


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_row_says_what_it_shows(row: Row) -> None:
    assert shown_by(row) or row.fault.startswith("none")
    assert row.label[0] in (*CLASSES, "a")


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(ROWS), "run python -m tests.zoo.classes"
