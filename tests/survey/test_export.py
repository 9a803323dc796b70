"""The three files say what the rows say, however rows are kept."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.survey.lab import read_parquet

from mailward.core.survey.columns import COLUMNS, Column, Row, Type, Value
from mailward.core.survey.parts import join_row, split_row
from mailward.core.survey.totals import Totals
from mailward.render.cell import neutralise
from mailward.survey.export import export
from mailward.survey.journal import Journal, encode_frame
from mailward.survey.page import Origin

ORIGIN = Origin("list.csv", datetime(2026, 11, 1, tzinfo=UTC), 9, 1, 2, 0, True, True, "1.0")
TEXTS = ("a", "a b", "=1+1", " \t@x", 'say "it"', "1,2", "a\r\nb", "\0", "\N{FULLWIDTH PLUS SIGN}1", "", "ok")


def values(column: Column) -> st.SearchStrategy[Value]:
    kinds: dict[Type, st.SearchStrategy[Value]] = {
        Type.TEXT: st.sampled_from(TEXTS),
        Type.INT: st.integers(0, 2**40),
        Type.BOOL: st.booleans(),
    }
    some = kinds[column.type]
    if column.name == "at":  # what a row always has
        return st.just("2026-11-01T00:00:00Z")
    return some if column.name in ("line", "took_ms", "domain") else st.none() | some


cells = st.tuples(*(values(column) for column in COLUMNS))
rows = st.lists(cells, min_size=1, max_size=6).flatmap(
    lambda few: st.lists(st.sampled_from(few), min_size=1, max_size=30)  # many are alike
)


def number(made: list[Row]) -> list[Row]:
    """So that no two of them have the same line."""
    return [(at, *row[1:]) for at, row in enumerate(made)]


@given(cells)
def test_a_row_in_parts_is_the_row(row: Row) -> None:
    assert join_row(*split_row(row)) == row


@settings(
    max_examples=30, deadline=None, phases=[Phase.generate]
)  # one that fails is not worth minutes of shrinking
@given(rows, st.integers(1, 30))
def test_files_and_sums_are_those_of_the_rows(made: list[Row], frame_rows: int) -> None:
    numbered = number(made)
    with TemporaryDirectory() as name:
        folder = Path(name)
        with Journal(folder, len(numbered)) as journal:
            for start in range(0, len(numbered), frame_rows):
                part = numbered[start : start + frame_rows]
                places = range(start, start + len(part))
                journal.append(encode_frame(places, [split_row(row) for row in part]))
        totals = export(folder, ORIGIN, lambda _: None)
        assert (folder / "results.csv").read_bytes() == expect_csv(numbered)
        assert read_parquet(folder) == numbered
    assert vars(totals) == vars(expect_totals(numbered))


def expect_csv(made: list[Row]) -> bytes:
    file = io.StringIO(newline="")
    table = csv.writer(file, lineterminator="\r\n")
    table.writerow([column.name for column in COLUMNS])
    for row in made:
        shown = [
            neutralise(cell) if column.is_stranger else cell
            for column, cell in zip(COLUMNS, row, strict=True)
        ]
        table.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in shown])
    return file.getvalue().encode()


def expect_totals(made: list[Row]) -> Totals:
    totals = Totals()
    for row in made:
        totals.add(row)
    return totals
