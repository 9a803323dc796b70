"""Rows by the hundred thousand: what domains share is made once.

Of a domain without a policy, all of the row but its own part (`parts`) follows from the shape of what was found, as the
judgement does (`judging`): such a part is kept, and met again within a microsecond. A test holds both ways together.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence

import msgspec

from mailward.core.check.facts import Facts, Lookup, MxHost
from mailward.core.survey.judging import Judge, shape_exchange
from mailward.core.survey.listing import Entry
from mailward.core.survey.parts import Parts, Shared, split_row
from mailward.core.survey.row import make_row, write_hosts

MAX_KEPT = 10_000  # about a kilobyte each


class Exchange(msgspec.Struct, frozen=True):
    """Where mail goes: MX hosts, of one domain or of the many that have the same MX records."""

    hosts: tuple[MxHost, ...]
    skipped: int
    """Hosts beyond the limit, not looked at."""
    shape: int | None
    """A number: the same for those whose rows differ in the cells below alone. None: names or TLSA records decide."""
    mx: str | None
    providers: str | None
    written: str
    """The cell `hosts`."""


class RowMaker:
    """For facts that have `has_smtp` and `validates` in common."""

    def __init__(self) -> None:
        self._judge = Judge()
        self._kept: OrderedDict[Hashable, Shared] = OrderedDict()
        self._shapes: dict[Hashable, int] = {}
        self._next_shape = 0

    def make_exchange(
        self, mx: Lookup, hosts: Sequence[MxHost], skipped: int, providers: Iterable[str]
    ) -> Exchange:
        shape = shape_exchange(mx, hosts)
        return Exchange(
            tuple(hosts),
            skipped,
            None if shape is None else self._number((shape, mx.reason, mx.chain, skipped)),
            "; ".join(mx.records) or None,
            " ".join(dict.fromkeys(providers)) or None,
            write_hosts(hosts),
        )

    def make(
        self,
        entry: Entry,
        when: tuple[str, int],
        exchange: Exchange,
        others: Hashable,
        make_facts: Callable[[], Facts],
    ) -> Parts:
        """The row. `when`: the cells `at` and `took_ms`. `others`: all that is known of the records of MTA-STS and
        TLSRPT; None where a policy was asked for. `make_facts` is called only where the row is unlike those before.
        """
        own = (
            entry.line,
            entry.rank,
            entry.domain,
            *when,
            exchange.mx,
            exchange.providers,
            exchange.written,
        )
        key = None if others is None or exchange.shape is None else (exchange.shape, others)
        shared = self._kept.get(key) if key is not None else None
        if shared is None:
            facts = make_facts()
            shared = split_row(make_row(entry, facts, self._judge.judge(facts), when[1], ())).shared
            if key is not None:
                self._keep(key, shared)
        return Parts(own, shared)

    def _keep(self, key: Hashable, shared: Shared) -> None:
        self._kept[key] = shared
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _number(self, shape: Hashable) -> int:
        number = self._shapes.get(shape)
        if number is None:
            if len(self._shapes) >= MAX_KEPT:
                self._shapes.clear()  # numbers go on: none is ever another shape's
            number = self._shapes[shape] = self._next_shape
            self._next_shape += 1
        return number
