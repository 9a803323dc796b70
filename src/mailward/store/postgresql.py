"""A connection to PostgreSQL that never waits for ever.

The server's own time-outs end a statement that takes too long; a server that is stopped, or whose disk hangs, ends
nothing, and its kernel still acknowledges what it gets.
"""

from typing import TypeVar

import psycopg
from django.db import connection
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

_T = TypeVar("_T")


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
