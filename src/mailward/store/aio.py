"""The one way from an event loop to the database: one call is one hop to a thread, one short transaction."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_store(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `function` returns, called in the thread that holds this process's database connection."""
    return await sync_to_async(_call, thread_sensitive=True)(function, *args, **kwargs)


def _call(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    try:
        return function(*args, **kwargs)
    except (InterfaceError, OperationalError):
        # the connection may be broken, such as by a restart of the database: the next call makes another
        if not connection.in_atomic_block:
            connection.close()
        raise


def disconnect() -> None:
    """Keep no connection, not even in PostgreSQL's pool: before a fork, whose child would share it."""
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # only PostgreSQL's has one
