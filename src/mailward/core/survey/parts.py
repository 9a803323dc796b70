"""A row in two parts: what differs from domain to domain, and what many of them share.

Most domains of a survey are alike but for their names and MX hosts. Kept apart, the part that is shared is made,
sent, written and counted once for all of them; any row can be split, whatever it holds.
"""

from operator import itemgetter
from typing import NamedTuple

from mailward.core.survey.columns import AT, COLUMNS, Row, Value

OWN = tuple(AT[name] for name in ("line", "rank", "domain", "at", "took_ms", "mx", "providers", "hosts"))
"""Places of the columns of the part of its own, in their order."""
SHARED = tuple(at for at in range(len(COLUMNS)) if at not in OWN)

Own = tuple[Value, ...]
Shared = tuple[Value, ...]


class Parts(NamedTuple):
    own: Own
    """In the order of OWN."""
    shared: Shared
    """In the order of SHARED."""


_own, _shared = itemgetter(*OWN), itemgetter(*SHARED)
_PLACES = (*OWN, *SHARED)
_joined = itemgetter(*(_PLACES.index(at) for at in range(len(COLUMNS))))


def split_row(row: Row) -> Parts:
    return Parts(_own(row), _shared(row))


def join_row(own: Own, shared: Shared) -> Row:
    return _joined(own + shared)  # type: ignore[no-any-return]  # itemgetter's
