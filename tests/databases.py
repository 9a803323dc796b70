"""A database as tests look at it from outside, past Django: SQLite, or PostgreSQL where the tests run on that."""

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from tests.postgresql import SERVER
from tests.settings import IS_POSTGRESQL

_numbers = itertools.count(1)
_LOCK = b"LOCK TABLE store_report, store_rawmessage, store_organisation, store_quarantinedmessage IN EXCLUSIVE MODE"
_LOCK_TRIES = 5


class Outside:
    """Of the installation in `folder`; on PostgreSQL, a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "mailward.sqlite3"
        self._name = f"mailward_{next(_numbers)}"
        if IS_POSTGRESQL:
            SERVER.start()
            SERVER.create(self._name)

    @property
    def environment(self) -> dict[str, str]:
        """What the installation's processes are told."""
        return SERVER.environment(self._name) if IS_POSTGRESQL else {}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs one statement and commits. Returns what it brings."""
        if IS_POSTGRESQL:
            with _connect(self._name) as database:
                cursor = database.execute(sql.encode())
                return cursor.fetchall() if cursor.description else []
        with contextlib.closing(sqlite3.connect(self._path, timeout=10)) as other, other:
            return other.execute(sql).fetchall()

    def check(self) -> None:
        """That a kill has left it whole."""
        if not IS_POSTGRESQL:
            assert self.rows("PRAGMA integrity_check") == [("ok",)]

    def held(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Nobody can write until the end of the block, or until what it gives is called."""
        return _held_postgresql(self._name) if IS_POSTGRESQL else _held_sqlite(self._path)


def held_writes() -> contextlib.AbstractContextManager[Callable[[], None]]:
    """`Outside.held` for the database of Django's connection."""
    name = str(connection.settings_dict["NAME"])
    return _held_postgresql(name) if IS_POSTGRESQL else _held_sqlite(Path(name))


@contextmanager
def _held_sqlite(path: Path) -> Iterator[Callable[[], None]]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other.rollback
        other.rollback()


@contextmanager
def _held_postgresql(name: str) -> Iterator[Callable[[], None]]:
    with _connect(name) as other:
        other.autocommit = False
        _lock(other)
        yield other.rollback
        other.rollback()


def _lock(other: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """The tables are locked one after another, so a writer that holds one may wait for us while we wait for it."""
    for _ in range(_LOCK_TRIES - 1):
        try:
            other.execute(_LOCK)
        except psycopg.errors.DeadlockDetected:
            other.rollback()
        else:
            return
    other.execute(_LOCK)


def _connect(name: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(dbname=name, host=str(SERVER.folder), user="mailward", autocommit=True)
