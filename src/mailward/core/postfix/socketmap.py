"""Questions and replies of the socketmap protocol (socketmap_table(5), Postfix's dict_sockmap)."""

from dataclasses import dataclass
from enum import StrEnum

MAX_QUERY_BYTES = 16 * 1024  # Postfix 3.12 sends 10,000 at most, earlier ones whatever they have
MAX_REPLY_BYTES = 100_000  # socketmap_max_reply_size; a longer one is a lookup error
MAX_REASON = 200  # as much as Postfix logs

NOTFOUND = b"NOTFOUND "
"""With the space at its end: Postfix looks for it."""


class QueryError(Exception):
    """The netstring holds no question."""

    code = "query"


class Dialect(StrEnum):
    """Which attributes the asking Postfix understands: chosen by the map name in its main.cf."""

    PLAIN = "postfix-3.4"
    TLSRPT = "postfix-3.10"


@dataclass(frozen=True, slots=True)
class Query:
    map_name: str
    key: bytes
    """As Postfix has it: any case, UTF-8, with brackets and port."""


def parse_query(payload: bytes) -> Query:
    """Raises QueryError."""
    name, space, key = payload.partition(b" ")
    if not space or not name or not name.isascii() or not name.decode("ascii").isprintable():
        raise QueryError("a question is a map name, a space and a key")
    return Query(name.decode("ascii"), key)


def dialect_of(map_name: str) -> Dialect:
    """`QUERYwithTLSRPT` (postfix-tlspol's name, so that main.cf may stay) and other names that end like it."""
    return Dialect.TLSRPT if map_name.lower().endswith("tlsrpt") else Dialect.PLAIN


def ok(data: bytes) -> bytes:
    return b"OK " + data


def temp(reason: str) -> bytes:
    """Postfix defers the mail with 4.7.5 and logs the reason."""
    return b"TEMP " + _text(reason)


def timeout(reason: str) -> bytes:
    return b"TIMEOUT " + _text(reason)


def perm(reason: str) -> bytes:
    """A mistake in the configuration, for Postfix: it defers as well."""
    return b"PERM " + _text(reason)


def _text(reason: str) -> bytes:
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in reason)
    return plain[:MAX_REASON].encode("ascii")
