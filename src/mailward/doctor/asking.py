"""Questions to the database, which may be away."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import Error as DatabaseError

from mailward.store.aio import in_store

_P = ParamSpec("_P")
_T = TypeVar("_T")


class NotAsked(Exception):
    """The database cannot be asked; the text says why."""


async def ask(no_database: str, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the function of the store returns. `no_database`: why there is none; empty: Django is set up for it.

    Raises NotAsked.
    """
    if no_database:
        raise NotAsked(no_database)
    try:
        return await in_store(function, *args, **kwargs)
    except DatabaseError as error:
        raise NotAsked(f"the database does not answer: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
