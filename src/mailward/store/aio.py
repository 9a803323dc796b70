"""The one way from an event loop to the database: one call is one hop to a thread, one short transaction."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection

from mailward.net import clock

AWAY_SECONDS = 2.0
"""So long nobody waits again for a PostgreSQL server that could not be reached: many may be queued behind one."""
_away_until = float("-inf")
_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_store(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `function` returns, called in the thread that holds this process's database connection."""
    return await sync_to_async(_call, thread_sensitive=True)(function, *args, **kwargs)


def _call(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    global _away_until  # noqa: PLW0603 - one server a process
    if connection.connection is None and clock.monotonic() < _away_until:
        raise OperationalError("the database was away a moment ago")
    try:
        return function(*args, **kwargs)
    except (InterfaceError, OperationalError) as error:
        # the connection may be broken, such as by a restart of the database: the next call makes another
        if not connection.in_atomic_block:
            connection.close()
            if connection.vendor == "postgresql" and not _was_said_by_server(error):
                _away_until = clock.monotonic() + AWAY_SECONDS
        raise


def _was_said_by_server(error: BaseException) -> bool:
    """Busy, too slow, full: PostgreSQL's own errors carry a code; those of who cannot reach it do not."""
    return getattr(error.__cause__, "sqlstate", None) is not None


def disconnect() -> None:
    """Keep no connection, not even in PostgreSQL's pool: before a fork, whose child would share it."""
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # only PostgreSQL's has one
