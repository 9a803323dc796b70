"""Sessions on their way to the disk: added up in memory, bounded while the disk does not take them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from mailward.core.names import Domain
from mailward.core.postfix.datagram import Datagram, Session
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.schema import FailureDetail, Policy

MAX_BYTES = 128 * 1024 * 1024
_ROW_BYTES = 600  # of a key and its numbers, without the texts in them
_DETAIL_BYTES = 400

_Key = tuple[date, Domain, str, Policy, Origin]


@dataclass(slots=True)
class _Sums:
    successes: int = 0
    failures: int = 0
    details: dict[FailureDetail, int] = field(default_factory=dict)


class Pending:
    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sums: dict[_Key, _Sums] = {}
        self._bytes = 0
        self.sessions = 0
        """In it."""

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add_datagram(self, datagram: Datagram, day: date, count: int, size: int) -> int:
        """It came `count` times and has `size` bytes. How many sessions found no room."""
        return sum(
            self._add(session_tally(datagram, session, day, count), size) for session in datagram.sessions
        )

    def add_tally(self, tally: Tally) -> int:
        """How many sessions found no room."""
        return self._add(tally, sum(map(len, tally.policy.policy_string)) + len(tally.record))

    def tallies(self) -> list[Tally]:
        return [
            Tally(*key, sums.successes, sums.failures, tuple(Detail(*item) for item in sums.details.items()))
            for key, sums in self._sums.items()
        ]

    def clear(self) -> None:
        self._sums.clear()
        self._bytes = self.sessions = 0

    def _add(self, tally: Tally, size: int) -> int:
        sessions = abs(tally.successes) + abs(tally.failures)
        key: _Key = tally[:5]
        sums = self._sums.get(key)
        is_full = self._bytes > self._max_bytes
        if sums is None:
            if is_full:
                return sessions
            self._bytes += size + _ROW_BYTES
            sums = self._sums[key] = _Sums()
        sums.successes += tally.successes
        sums.failures += tally.failures
        for failure, count in self._fitting(sums, tally.details, is_full=is_full):
            sums.details[failure] = sums.details.get(failure, 0) + count
        self.sessions += sessions
        return 0

    def _fitting(self, sums: _Sums, details: tuple[Detail, ...], *, is_full: bool) -> Iterator[Detail]:
        for failure, count in details:
            if failure in sums.details:
                yield Detail(failure, count)
            elif is_full:  # the session is counted, and what was wrong with it by its type
                yield Detail(FailureDetail(result_type=failure.result_type), count)
            else:
                self._bytes += _DETAIL_BYTES
                yield Detail(failure, count)


def session_tally(datagram: Datagram, session: Session, day: date, count: int = 1) -> Tally:
    """As it is counted for a datagram that came `count` times on a day."""
    details = tuple(Detail(failure, count) for failure in session.details)
    successes, failures = (0, count) if session.has_failed else (count, 0)
    return Tally(
        day, datagram.domain, datagram.record, session.policy, Origin.DATAGRAM, successes, failures, details
    )
