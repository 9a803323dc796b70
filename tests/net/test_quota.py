"""So many connections to an address in an hour, over runs and processes."""

import asyncio
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from mailward.net import clock
from mailward.net.quota import FileQuota

NOON = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
FULL = "not asked: it has had its 3 connections for this hour"
TAKE = """
import asyncio, sys
from pathlib import Path
from mailward.net.quota import FileQuota
quota = FileQuota(Path(sys.argv[1]), 50)
print(sum(not asyncio.run(quota.take("192.0.2.1", 1)) for _ in range(40)))
"""


def take(quota: FileQuota, address: str = "192.0.2.1", connections: int = 1) -> str:
    return asyncio.run(quota.take(address, connections))


def test_an_address_has_so_many_an_hour_and_others_have_theirs(tmp_path: Path) -> None:
    quota = FileQuota(tmp_path / "state" / "probes.sqlite3", 3)
    with clock.frozen(NOON):
        assert [take(quota, connections=2), take(quota, connections=2), take(quota), take(quota)] == [
            "",
            FULL,
            "",
            FULL,
        ]
        assert take(quota, "2001:db8::1") == ""
    with clock.frozen(NOON + timedelta(minutes=61)):
        assert take(quota, connections=3) == ""


def test_another_run_goes_on_counting(tmp_path: Path) -> None:
    file = tmp_path / "probes.sqlite3"
    with clock.frozen(NOON):
        assert take(FileQuota(file, 3), connections=3) == ""
        assert take(FileQuota(file, 3)) == FULL


def test_a_clock_that_went_back_does_not_block_for_ever(tmp_path: Path) -> None:
    quota = FileQuota(tmp_path / "probes.sqlite3", 3)
    with clock.frozen(NOON):
        take(quota, connections=3)
    with clock.frozen(NOON - timedelta(days=30)):
        assert take(quota) == ""


def test_two_processes_share_the_bound(tmp_path: Path) -> None:
    file = tmp_path / "probes.sqlite3"
    command = [sys.executable, "-c", TAKE, str(file)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in both) == 50
    count = sqlite3.connect(file).execute("SELECT connections FROM probes").fetchall()
    assert count == [(50,)]


def test_without_a_place_for_the_file_the_run_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    quota = FileQuota(tmp_path / "file" / "probes.sqlite3", 3)
    assert [bool(take(quota)) for _ in range(4)] == [False, False, False, True]


def test_a_file_that_is_no_database_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "probes.sqlite3").write_bytes(b"rubbish" * 1000)
    quota = FileQuota(tmp_path / "probes.sqlite3", 3)
    assert [bool(take(quota)) for _ in range(4)] == [False, False, False, True]
