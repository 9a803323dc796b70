"""From the journal to files that people and programs read: each is whole, or it is the one before."""

import csv
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from mailward.core.survey.columns import COLUMNS, FORMAT, Row, Type
from mailward.core.survey.totals import Totals
from mailward.render.cell import neutralise
from mailward.render.parquet import Kind, ParquetWriter
from mailward.survey.journal import read_rows
from mailward.survey.page import Origin, render_summary

CSV, PARQUET, SUMMARY = "results.csv", "results.parquet", "summary.html"
GROUP_ROWS = 10_000
_GROUP_BYTES = 32 * 1024 * 1024
_KINDS = {Type.TEXT: Kind.TEXT, Type.INT: Kind.INT, Type.BOOL: Kind.BOOL}
_STRANGERS = tuple(at for at, column in enumerate(COLUMNS) if column.is_stranger)
_BOOLS = tuple(at for at, column in enumerate(COLUMNS) if column.type is Type.BOOL)


def export(folder: Path, origin: Origin, report: Callable[[int], None]) -> Totals:
    """Write results.csv, results.parquet and summary.html. `report` is told how many more rows are written. Raises
    OSError.
    """
    totals = Totals()
    with _replacing_text(folder / CSV) as text, _replacing(folder / PARQUET) as binary:
        table = csv.writer(text, lineterminator="\r\n")  # RFC 4180
        table.writerow([column.name for column in COLUMNS])
        columns = [(column.name, _KINDS[column.type]) for column in COLUMNS]
        parquet = ParquetWriter(binary, columns, {"mailward.survey.format": str(FORMAT)})
        for rows in _groups(folder):
            for row in rows:
                totals.add(row)
            parquet.write(rows)
            table.writerows(_cells(row) for row in rows)
            report(len(rows))
        parquet.close()
    with _replacing_text(folder / SUMMARY) as page:
        page.write(render_summary(totals, origin))
    return totals


def _groups(folder: Path) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for rows, taken in read_rows(folder):
        group += rows
        size += taken
        if len(group) >= GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cells(row: Row) -> list[str | int | None]:
    cells = list(row)
    for at in _STRANGERS:
        if cells[at] is not None:
            cells[at] = neutralise(cells[at])
    for at in _BOOLS:
        if cells[at] is not None:
            cells[at] = "true" if cells[at] else "false"
    return cells


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name when it is complete, and on the disk."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


@contextmanager
def _replacing_text(path: Path) -> Iterator[TextIO]:
    with _replacing(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", errors="replace", newline="")
        yield text
        text.flush()
        text.detach()
