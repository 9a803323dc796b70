"""docs/check-compared.md shows rows that there are, and what its peer is judged by names codes that there are."""

import re
from pathlib import Path

from bench.checkdmarc_claims import NAMED, area_of
from tests.zoo.rows import read_rows

from mailward.core.check.codes import Code

PAGE = Path(__file__).parents[2] / "docs/check-compared.md"
ROW = re.compile(r"^\| ([a-z]\d[\w-]+) \|", re.MULTILINE)


def test_what_the_peer_may_name_are_codes_of_ours() -> None:
    assert set(Code) >= NAMED
    assert all(area_of(code) for code in Code)


def test_the_page_shows_rows_that_there_are() -> None:
    shown = set(ROW.findall(PAGE.read_text()))
    assert len(shown) > 100
    assert shown <= {row.label for row in read_rows()}, "run bench/run check-zoo --write"
