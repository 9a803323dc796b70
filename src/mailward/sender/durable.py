"""SQLite files that several processes open at once, and whose commits survive the power."""

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from mailward.net import clock
from mailward.net.ownership import make_empty

_AGAIN_SECONDS = 0.01


def connect_durably(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Made if needed; no transaction is begun by itself. Raises OSError or sqlite3.Error."""
    make_empty(path)
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    use_write_ahead_log(connection, busy_seconds)
    connection.execute("PRAGMA synchronous = FULL")  # in WAL, NORMAL loses the last commits with the power
    return connection


def open_schema(
    path: Path,
    busy_seconds: float,
    schema: str,
    version: int,
    steps: Mapping[int, str],
    additions: str = "",
) -> sqlite3.Connection:
    """With the tables of `schema`, made if needed. `steps`: from each earlier version to the next one. `additions`:
    what an earlier release of the same version did not make and does not mind, so that it can be gone back to; they
    are made where they are missing.

    Raises sqlite3.Error, also for a file of a later version.
    """
    connection = connect_durably(path, busy_seconds)
    connection.execute("BEGIN IMMEDIATE")
    [(found,)] = connection.execute("PRAGMA user_version").fetchall()
    if found < version:
        scripts = [steps[each] for each in range(found, version)] if found else [schema]
        for statement in "".join(scripts).split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
    if found <= version:
        for statement in additions.split(";")[:-1]:
            connection.execute(statement)
    connection.execute("COMMIT")
    if found > version:
        raise sqlite3.DatabaseError(f"schema {found} is newer than this Mailward, which knows {version}")
    return connection


def use_write_ahead_log(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Raises sqlite3.Error. Of those who open a new file at once one changes its mode, and SQLite refuses the others
    without waiting, whatever the timeout.
    """
    ends = clock.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or clock.monotonic() >= ends:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return
