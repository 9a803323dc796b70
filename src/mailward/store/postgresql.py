"""A connection to PostgreSQL that never waits for ever, and takes every text.

The server's own time-outs end a statement that takes too long; a server that is stopped, or whose disk hangs, ends
nothing, and its kernel still acknowledges what it gets.

It refuses NUL in texts and in JSON, which SQLite keeps. Strangers' DNS records, policies and servers may say NUL, and
what is told of them must not fail for that: U+FFFD stands in its place.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg
from django.db import connection
from psycopg.abc import Buffer, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb, JsonbDumper
from psycopg.types.string import StrDumperUnknown

from mailward.net.ownership import Owner, acting_as
from mailward.store.aio import disconnect

_T = TypeVar("_T")
_LOOKS = 5
# as json.dumps writes it, and not a backslash with "u0000" behind
_JSON_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class _TextDumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


class _JsonDumper(JsonbDumper):
    def dump(self, obj: object) -> Buffer | None:
        data = super().dump(obj)
        return None if data is None else _JSON_NUL.sub(rb"\1\\ufffd", data)


# before Django makes its own adapters of these
psycopg.adapters.register_dumper(str, _TextDumper)
psycopg.adapters.register_dumper(Jsonb, _JsonDumper)


class Impatient(psycopg.Connection[TupleRow]):
    """Closed when the server says nothing for `patience_seconds`; the caller gets OperationalError."""

    patience_seconds: float | None = None
    peer: Owner | None = None
    """As whom it is made; None: as who we are."""

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 - psycopg's own
        with acting_as(cls.peer):
            return super().connect(*args, **kwargs)

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        try:
            return super().wait(gen, interval, self.patience_seconds if timeout is None else timeout)
        except psycopg.OperationalError as error:
            # an error that the server sent has ended the statement
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
                raise psycopg.OperationalError(
                    f"the database server has said nothing for {self.patience_seconds:g} seconds"
                ) from error
            raise


def connection_class(seconds: float, peer: Owner | None = None) -> type[psycopg.Connection[TupleRow]]:
    """Impatient by so much, and made as him."""
    return type("Connection", (Impatient,), {"patience_seconds": seconds, "peer": peer})


def wait_for_ever() -> None:
    """On Django's connection, until it is closed: for a migration, and for one's turn to do it."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = 0")
    if isinstance(connection.connection, Impatient):
        connection.connection.patience_seconds = None


def server_params() -> dict[str, Any]:
    """To connect by psycopg to the server itself, whatever pooler others go through."""
    wanted = connection.get_connection_params()
    for name in ("cursor_factory", "context"):  # Django's own, for its connections
        wanted.pop(name, None)
    direct = connection.settings_dict["DIRECT"]
    return {**wanted, "host": direct["HOST"] or None, "port": direct["PORT"]}


@contextmanager
def past_pooler() -> Iterator[None]:
    """Django's connection leads to the server itself meanwhile: for what lasts longer than a transaction. Only where
    nothing else of this process uses the database.
    """
    kept, direct = connection.settings_dict, connection.settings_dict["DIRECT"]
    usual = {name: kept[name] for name in direct}
    if usual == direct:
        yield
        return
    disconnect()
    kept.update(direct)
    try:
        yield
    finally:
        disconnect()
        kept.update(usual)


def is_shared() -> bool:
    """Whether Django's connection leads through a pooler in transaction mode: two connections of ours, both open, get
    the same process of the server in turn, or one gets several. Raises django.db.OperationalError.
    """
    wanted = connection.get_connection_params()
    with (
        connection.wrap_database_errors,
        _connect(**wanted, autocommit=True) as one,
        _connect(**wanted, autocommit=True) as other,
    ):
        seen: list[set[int]] = [set(), set()]
        for _ in range(_LOOKS):
            for pids, each in zip(seen, (one, other), strict=True):
                pids.update(row[0] for row in each.execute("SELECT pg_backend_pid()"))
    return len(seen[0]) > 1 or len(seen[1]) > 1 or bool(seen[0] & seen[1])


def reach() -> None:
    """Raises django.db.OperationalError with the server's reason: the pool says only that it has no connection."""
    with connection.wrap_database_errors:
        _connect(**connection.get_connection_params()).close()


def _connect(**wanted: Any) -> psycopg.Connection[TupleRow]:  # noqa: ANN401 - libpq's parameters
    with acting_as(connection.settings_dict["PEER"]):
        return psycopg.connect(**wanted)
