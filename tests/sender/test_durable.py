import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from mailward.sender.durable import connect_durably

AT_ONCE = 8


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """Without waiting, a hundred files see some refusals."""
    barrier = Barrier(AT_ONCE)

    def open_it(path: Path) -> str:
        barrier.wait()
        connection = connect_durably(path, 30)
        [(mode,)] = connection.execute("PRAGMA journal_mode").fetchall()
        connection.close()
        return str(mode)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(100):
            path = tmp_path / f"{number}.sqlite3"
            assert list(pool.map(open_it, [path] * AT_ONCE)) == ["wal"] * AT_ONCE


def test_one_that_stays_locked_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "locked.sqlite3"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (a)")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connect_durably(path, 0.1)
    holder.close()
