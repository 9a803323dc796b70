"""What a kill leaves of the journal, byte by byte."""

from pathlib import Path

import pytest

from mailward.core.survey.columns import COLUMNS, Row
from mailward.core.survey.parts import Parts, split_row
from mailward.survey.journal import JOURNAL, Journal, JournalBusy, encode_frame, read_frames

NAMES = 10


def row(number: int) -> Parts:
    return split_row((number, *(None,) * (len(COLUMNS) - 1)))


def read_rows(folder: Path) -> list[Row]:
    return [row for frame, _ in read_frames(folder) for row in frame.rows()]


def write(folder: Path, *frames: list[int]) -> bytes:
    with Journal(folder, NAMES) as journal:
        for places in frames:
            journal.append(encode_frame(places, [row(place) for place in places]))
    return (folder / JOURNAL).read_bytes()


def test_rows_come_back_in_the_order_in_which_they_were_finished(tmp_path: Path) -> None:
    write(tmp_path, [4, 2], [7])
    assert [row[0] for row in read_rows(tmp_path)] == [4, 2, 7]
    with Journal(tmp_path, NAMES) as journal:
        assert [place for place in range(NAMES) if place in journal.done] == [2, 4, 7]
        assert (journal.done.count, journal.cut_bytes) == (3, 0)


def test_whatever_is_left_of_a_frame_is_cut_off(tmp_path: Path) -> None:
    whole = write(tmp_path, [1], [2, 3])
    (tmp_path / "other").mkdir()
    first = len(write(tmp_path / "other", [1]))
    for size in range(first, len(whole)):
        (tmp_path / JOURNAL).write_bytes(whole[:size])
        with Journal(tmp_path, NAMES) as journal:
            assert (journal.done.count, journal.cut_bytes) == (1, size - first)
            journal.append(encode_frame([5], [row(5)]))
        assert [row[0] for row in read_rows(tmp_path)] == [1, 5]


def test_a_frame_with_a_wrong_bit_is_no_frame(tmp_path: Path) -> None:
    whole = write(tmp_path, [1], [2, 3])
    for at in range(0, len(whole), 7):
        (tmp_path / JOURNAL).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with Journal(tmp_path, NAMES) as journal:
            assert journal.done.count <= 1


def test_no_place_gets_a_second_row(tmp_path: Path) -> None:
    with Journal(tmp_path, NAMES) as journal:
        journal.append(encode_frame([1], [row(1)]))
        with pytest.raises(ValueError, match="already"):
            journal.append(encode_frame([2, 1], [row(2), row(1)]))
        with pytest.raises(IndexError):
            journal.append(encode_frame([NAMES], [row(NAMES)]))


def test_two_surveys_do_not_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path, NAMES), pytest.raises(JournalBusy):
        Journal(tmp_path, NAMES)
