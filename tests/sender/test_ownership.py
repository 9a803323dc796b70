"""Root types the commands; the daemon runs as somebody else."""

import os
from pathlib import Path

import pytest

from mailward.sender.dkimkeys import load_key, make_key
from mailward.sender.durable import connect_durably
from mailward.sender.sqlite import SqliteCache

DAEMON = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, DAEMON, DAEMON)
    return folder


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in folder.rglob("*")}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_cache_that_root_makes_is_the_daemon_s(data: Path) -> None:
    cache = SqliteCache(data / "sender.sqlite3", 10)
    assert names(data) == {"sender.sqlite3", "sender.sqlite3-wal", "sender.sqlite3-shm"}
    assert owners(data) == {DAEMON}
    await cache.close()


def test_a_key_that_root_makes_is_the_daemon_s_alone(data: Path) -> None:
    make_key(data, "r2026", "ed25519")
    load_key(data, "r2026")
    assert owners(data) == {DAEMON}
    assert [path.stat().st_mode & 0o777 for path in data.rglob("*")] == [0o700, 0o600]


def test_what_is_there_stays_whose_it_is(data: Path) -> None:
    (data / "x").touch()
    connect_durably(data / "x", 1).close()
    assert (data / "x").stat().st_uid == 0


def test_in_a_folder_of_root_s_nothing_is_given_away(tmp_path: Path) -> None:
    make_key(tmp_path / "new" / "data", "r2026", "ed25519")
    assert owners(tmp_path) == {0}
