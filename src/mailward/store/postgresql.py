"""A connection to PostgreSQL that never waits for ever, and takes every text.

The server's own time-outs end a statement that takes too long; a server that is stopped, or whose disk hangs, ends
nothing, and its kernel still acknowledges what it gets.

It refuses NUL in texts and in JSON, which SQLite keeps. Strangers' DNS records, policies and servers may say NUL, and
what is told of them must not fail for that: U+FFFD stands in its place.
"""

import re
from typing import TypeVar

import psycopg
from django.db import connection
from psycopg.abc import Buffer, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb, JsonbDumper
from psycopg.types.string import StrDumperUnknown

_T = TypeVar("_T")
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


def connection_class(seconds: float) -> type[psycopg.Connection[TupleRow]]:
    """Impatient by so much."""
    return type("Connection", (Impatient,), {"patience_seconds": seconds})


def wait_for_ever() -> None:
    """On Django's connection, until it is closed: for a migration, and for one's turn to do it."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = 0")
    if isinstance(connection.connection, Impatient):
        connection.connection.patience_seconds = None


def reach() -> None:
    """Raises django.db.OperationalError with the server's reason: the pool says only that it has no connection."""
    with connection.wrap_database_errors:
        psycopg.connect(**connection.get_connection_params()).close()
