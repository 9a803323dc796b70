"""Cells of CSV that are safe to open in a spreadsheet."""

import re

Cell = str | int | None
# Spreadsheets pass over blanks and invisible characters, and some take full-width signs for plain ones
_FORMULA = re.compile(r"[\s\x00-\x1f\u200b-\u200f\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def neutralise(cell: Cell) -> Cell:
    """A number stays a number; text never becomes a formula, nor breaks the line with a NUL."""
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\0", "\ufffd")
    return f"'{cell}" if _FORMULA.match(cell) else cell
