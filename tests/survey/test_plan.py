"""From a list to what is asked: whatever stands in the list, nothing is fatal and nothing is lost in silence."""

import csv
import io
from pathlib import Path

from mailward.core.survey.listing import MAX_LINE_BYTES
from mailward.survey.plan import Seen, hash_list, make_plan, read_names

JUNK = (
    b"rank,domain\n"
    b"1,example.org\n"
    b"\n"
    b"# a comment\n"
    b"2,EXAMPLE.org.\n"  # again
    b"3,=cmd|'/c calc'!A0\n"
    b"4,localhost\n"
    + b"y" * (3 * MAX_LINE_BYTES)
    + b"\n"
    + "5,bücher.example\n".encode()
    + b"6,\xff.example\n"
    b"7,example.net"
)


def test_names_and_rejected_lines_are_told_apart(tmp_path: Path) -> None:
    plan = make_plan(io.BytesIO(JUNK), tmp_path)
    assert (plan.lines, plan.names, plan.duplicates, plan.rejected) == (11, 3, 1, 4)
    assert [(entry.line, entry.rank, entry.domain) for entry in read_names(tmp_path)] == [
        (2, 1, "example.org"),
        (9, 5, "xn--bcher-kva.example"),
        (11, 7, "example.net"),
    ]
    with (tmp_path / "rejected.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["line", "6", "7", "8", "10"]
    assert rows[1][1].startswith("3,=")
    assert "longer than" in rows[3][2]
    assert plan.sha256 == hash_list(io.BytesIO(JUNK))


def test_a_cell_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    make_plan(io.BytesIO(b'example.org\n=HYPERLINK("http://a")\n'), tmp_path)
    with (tmp_path / "rejected.csv").open(newline="", encoding="utf-8") as file:
        [_, row] = csv.reader(file)
    assert row[1].startswith("'=")


def test_a_sample_is_the_same_each_time_and_part_of_a_larger_one(tmp_path: Path) -> None:
    source = "".join(f"d{number}.test\n" for number in range(1000)).encode()

    def sample(count: int, data: bytes) -> list[str]:
        plan = make_plan(io.BytesIO(data), tmp_path, count)
        assert (plan.names, plan.left_out) == (count, 1000 - count)
        return [entry.domain for entry in read_names(tmp_path)]

    hundred = sample(100, source)
    assert sample(100, source) == hundred
    assert set(sample(10, source)) < set(hundred)
    turned = b"".join(reversed(source.splitlines(keepends=True)))
    assert set(sample(100, turned)) == set(hundred)


def test_a_set_of_names_grows(tmp_path: Path) -> None:
    seen = Seen()
    names = [f"d{number}.test" for number in range(20_000)]
    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)
