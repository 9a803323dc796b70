"""A copy of an SQLite database that others write to.

SQLite's backup API in one step: the pages as they are, in one read transaction, which in WAL mode keeps nobody from
writing. Ruled out: `VACUUM INTO`, which writes every row anew (twice the time, and rowids may change), and the same API
in small steps, which begins again with each commit of another process and so never ends under load.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from mailward.backup import BackupFault

_BUSY_SECONDS = 30
_SIDES = ("-wal", "-shm")


def copy_sqlite(source: Path, target: Path) -> None:
    """Whole and consistent, in one file without a log beside it. Raises BackupFault."""
    try:
        # "rw": what a crash left in the log is taken in; nothing is made where nothing is
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
            written.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise BackupFault(f"{source} cannot be copied: {error}") from error
    check_sqlite(target)


def check_sqlite(path: Path) -> None:
    """That it is whole. Raises BackupFault. A backup of a broken database would push out the last good one."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            [(verdict,), *_] = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise BackupFault(f"the database {path.name} is damaged: {verdict}")


def applied_migrations(path: Path) -> list[str]:
    """As `app.name`, in order of name; empty where there are no tables yet. Raises BackupFault."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            there = database.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'"
            ).fetchall()
            rows = database.execute("SELECT app, name FROM django_migrations").fetchall() if there else []
    except sqlite3.Error as error:
        raise BackupFault(f"the database {path.name} cannot be read: {error}") from error
    return sorted(f"{app}.{name}" for app, name in rows)


def size_of(path: Path) -> int:
    """With its log, which the copy takes in; octets."""
    files = [path, *(path.with_name(path.name + side) for side in _SIDES[:1])]
    return sum(file.stat().st_size for file in files if file.exists())
