"""What we write as Parquet, DuckDB reads as it was."""

import io
import tempfile
from pathlib import Path

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from mailward.render.parquet import Kind, ParquetWriter

COLUMNS = [("text", Kind.TEXT), ("number", Kind.INT), ("is", Kind.BOOL), ("never", Kind.TEXT)]
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.none() | st.integers(-(2**63), 2**63 - 1)
rows = st.lists(st.tuples(texts, numbers, st.none() | st.booleans(), st.none()), max_size=40)


def read(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


@given(groups=st.lists(rows, max_size=3))
def test_every_value_comes_back(groups: list[list[tuple[str | int | bool | None, ...]]]) -> None:
    file = io.BytesIO()
    writer = ParquetWriter(file, COLUMNS, {})
    for group in groups:
        writer.write(group)
    writer.close()
    with tempfile.NamedTemporaryFile(suffix=".parquet") as written:
        Path(written.name).write_bytes(file.getvalue())
        assert read(Path(written.name)) == [row for group in groups for row in group]


def test_ten_thousand_rows_of_more_columns_than_a_short_list_has(tmp_path: Path) -> None:
    columns = [(f"column{number}", Kind.INT) for number in range(40)]
    made = [tuple(number if number % 3 else None for number in range(at, at + 40)) for at in range(10_003)]
    path = tmp_path / "many.parquet"
    with path.open("wb") as file:
        writer = ParquetWriter(file, columns, {"what": "numbers"})
        writer.write(made)
        writer.close()
    assert read(path) == made


def test_what_is_about_the_file_is_in_it() -> None:
    file = io.BytesIO()
    ParquetWriter(file, COLUMNS, {"mailward.survey.format": "1"}).close()
    assert file.getvalue().startswith(b"PAR1")
    assert file.getvalue().endswith(b"PAR1")
    assert b"mailward.survey.format" in file.getvalue()
