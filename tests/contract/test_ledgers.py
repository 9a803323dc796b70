"""The requirement ledgers say the truth: code that is there, and tests that are named after what they hold."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEDGERS = ("rfc8460.md", "rfc8460-record.md", "rfc8461.md")
HEAD = ["id", "requirement", "level", "section", "where", "tests"]
# what this part of the house is about; the other ids belong to the customer's MX or to the sender
REQUIRED = (
    *(f"P{number}" for number in range(1, 15)),
    *("S2", "S4", "S5", "S6", "S7", "S9", "S15", "S16", "S19"),
    *("G1", "G2", "G3", "G6", "G9", "G10", "G11", "G12", "G13", "G14", "G15"),
    *(f"R{number}" for number in range(1, 6)),
)
OTHERS = {*(f"S{number}" for number in range(1, 22)), *(f"G{number}" for number in range(1, 17))}
PATH = re.compile(r"`([\w./-]+\.py)`")
NAMED = re.compile(r"test_((?:[pxsgr][0-9]+_)+)")


@dataclass(frozen=True)
class Row:
    id: str
    level: str
    section: str
    where: str
    tests: str

    @property
    def is_planned(self) -> bool:
        return self.where.startswith("planned: ")


def read_rows() -> list[Row]:
    rows = []
    for ledger in LEDGERS:
        for line in (ROOT / "docs" / "rfc" / ledger).read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if re.fullmatch(r"[A-Z][0-9]+", cells[0]):
                assert len(cells) == len(HEAD), line
                rows.append(Row(cells[0], *cells[2:]))
    return rows


@cache
def find_tests() -> dict[str, set[str]]:
    """The files in which a test is named after the id."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            named = NAMED.match(node.name)
            for key in named[1].rstrip("_").split("_") if named else ():
                found.setdefault(key.upper(), set()).add(path.relative_to(ROOT).as_posix())
    return found


ROWS = read_rows()
BUILT = [row for row in ROWS if not row.is_planned]


@pytest.mark.parametrize("ledger", LEDGERS)
def test_each_ledger_has_the_same_columns(ledger: str) -> None:
    lines = (ROOT / "docs" / "rfc" / ledger).read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.startswith("| id |")]
    assert heads
    assert {tuple(cell.strip() for cell in head.strip("|").split("|")) for head in heads} == {tuple(HEAD)}


def test_each_requirement_has_one_row() -> None:
    ids = [row.id for row in ROWS]
    assert sorted(ids) == sorted(set(ids))
    assert set(ids) == {*REQUIRED, *OTHERS}


def test_nothing_that_this_part_owes_is_planned() -> None:
    assert {row.id for row in ROWS if row.is_planned} & set(REQUIRED) == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_says_level_and_section(row: Row) -> None:
    assert row.level
    assert re.fullmatch(r"[0-9.]+(?:, [0-9.]+)*", row.section)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_names_code_that_is_there(row: Row) -> None:
    named = PATH.findall(row.where)
    assert named or row.is_planned
    assert [path for path in named if not (ROOT / "src" / "mailward" / path).is_file()] == []


@pytest.mark.parametrize("row", BUILT, ids=lambda row: row.id)
def test_a_row_names_the_files_whose_tests_are_named_after_it(row: Row) -> None:
    assert set(PATH.findall(row.tests)) == find_tests().get(row.id, set()) != set()


def test_every_test_that_is_named_after_an_id_has_a_row_that_is_built() -> None:
    assert set(find_tests()) - {row.id for row in BUILT} == set()
