"""Questions to the database, which may be away."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseError
from django.db import connection

from mailward.store.aio import in_store

_P = ParamSpec("_P")
_T = TypeVar("_T")
_DAMAGED = ("file is not a database", "database disk image is malformed")
"""What SQLite says of SQLITE_NOTADB and SQLITE_CORRUPT."""


class NotAsked(Exception):
    """The database cannot be asked; the text says why."""

    def __init__(self, text: str, *, is_damaged: bool = False) -> None:
        super().__init__(text)
        self.is_damaged = is_damaged
        """What lies there is no database any more, or not a whole one."""


async def ask(no_database: str, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the function of the store returns. `no_database`: why there is none; empty: Django is set up for it.

    Raises NotAsked.
    """
    if no_database:
        raise NotAsked(no_database)
    try:
        return await in_store(function, *args, **kwargs)
    except DatabaseError as error:
        text = one_line(await asyncio.to_thread(_reason_of, error))
        is_damaged = any(words in text for words in _DAMAGED)
        raise NotAsked(f"the database does not answer: {text}", is_damaged=is_damaged) from error


def _reason_of(error: DatabaseError) -> DatabaseError:
    """A pool says only that it has no connection: then the server is asked why."""
    if connection.vendor == "postgresql":
        from psycopg_pool import PoolTimeout

        from mailward.store.postgresql import reach

        if isinstance(error.__cause__, PoolTimeout):
            try:
                reach()
            except DatabaseError as reason:
                return reason
    return error


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
