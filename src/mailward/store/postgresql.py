"""A connection to PostgreSQL that never waits for ever.

The server's own time-outs end a statement that takes too long; a server that is stopped, or whose disk hangs, ends
nothing, and its kernel still acknowledges what it gets.
"""

from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

_T = TypeVar("_T")


def connection_class(seconds: float) -> type[psycopg.Connection[TupleRow]]:
    """Of connections that are closed when the server says nothing for so long; the caller gets OperationalError."""

    class Impatient(psycopg.Connection[TupleRow]):
        def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
            try:
                return super().wait(gen, interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError as error:
                # an error that the server sent has ended the statement
                if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                    self.close()
                    raise psycopg.OperationalError(
                        f"the database server has said nothing for {seconds:g} seconds"
                    ) from error
                raise

    return Impatient
