"""Finished answers: whole frames, as they came off the socket, to whole frames to send. A hit is one lookup in a dict.

What is in it has an end of its own, and ends at once when something is learned about its domain. Most of a frame is the
policy, and many domains have the same one, or the same but for their own name: so an answer is kept with the domain
cut out of it, once for all whose answer is the same otherwise, and how questions are found again from their domain is
worked out, not stored. What memory it takes is counted, overhead and all, and bounded.
"""

from itertools import islice
from typing import NamedTuple

from mailward.core.names import Domain
from mailward.core.postfix import netstring, socketmap
from mailward.core.sending.facts import Row
from mailward.net import clock
from mailward.sender.memory import Generations

MAX_ANSWERS = 120_000
MAX_FRAME = 4_096  # longer ones are made anew: few policies are so long
MAX_BYTES = 38 * 1024 * 1024  # of memory, by the two costs below
ASKED_COST = (
    110  # of a question beside its text: a place in the dict, the head of a bytes object, malloc's rounding
)
ANSWER_COST, PART_COST = 130, 50  # of an answer, and of each part, beside their text
MAX_PARTS = 24
MAX_ALIKE = 4_096  # answers among which an equal one is looked for
MAX_MAP_NAMES = 8
MAX_ODD_DOMAINS = 10_000
MAX_ODD_QUESTIONS = 8  # of one domain
ODD_SECONDS = 60.0

NOTFOUND_FRAME = netstring.encode(socketmap.NOTFOUND)

_EVER = 1e15


class Finished:
    """An answer, for one question or for all that have the same."""

    __slots__ = ("frame", "parts", "row", "start", "until", "users")

    def __init__(self, until: float, parts: tuple[bytes, ...], start: int, row: Row) -> None:
        self.until = until
        """Monotonic, in whole seconds: so that more are the same."""
        self.frame = parts[0] if len(parts) == 1 else b""
        """Where it is kept whole."""
        self.parts = parts if len(parts) > 1 else ()
        """Else what stands around the domain."""
        self.start = start
        """Where the domain begins in the question."""
        self.row = row
        """Of the decision."""
        self.users = 0

    def make(self, asked: bytes) -> bytes:
        """The frame to send."""
        return self.frame or asked[self.start : -1].join(self.parts)

    def says(self, until: float, parts: tuple[bytes, ...], start: int, row: Row) -> bool:
        return (
            self.until == until
            and (self.parts or (self.frame,)) == parts
            and self.start == start
            and self.row is row
        )

    @property
    def cost(self) -> int:
        return ANSWER_COST + len(self.frame) + sum(PART_COST + len(part) for part in self.parts)


class Subject(NamedTuple):
    """What a question was about."""

    map_name: str
    key: bytes
    domain: Domain

    @property
    def is_plain(self) -> bool:
        return self.key == self.domain.encode("ascii")


class Memo:
    def __init__(self) -> None:
        self.finished: dict[bytes, Finished] = {}
        """For the server's quick path: look at the end before use."""
        self.dropped_all = 0
        """How often `drop_all` was called."""
        self._bytes = 0
        self._ended = {row: Finished(0.0, (b"",), 0, row) for row in Row}
        self._alike: dict[int, Finished | None] = {}
        """By their hash: answers that came more than once lately; None: once."""
        self._until = 0.0
        self._map_names: set[str] = set()
        self._odd: Generations[Domain, tuple[bytes, ...]] = Generations(MAX_ODD_DOMAINS)
        """Questions whose key is not the plain domain: brackets, ports, capitals."""

    def find(self, asked: bytes) -> tuple[bytes, Row] | None:
        """The answer, if it still holds, and the row of its decision."""
        found = self.finished.get(asked)
        if found is None or found.until <= clock.monotonic():
            return None
        return found.make(asked), found.row

    def last_row(self, asked: bytes) -> Row | None:
        """The row of the last decision, though the answer may have ended."""
        found = self.finished.get(asked)
        return found.row if found is not None else None

    def keep(
        self, asked: bytes, until: float, frame: bytes, row: Row, subject: Subject | None = None
    ) -> None:
        """`subject`: what it is about; None where it can never change."""
        if len(frame) > MAX_FRAME or len(asked) > MAX_FRAME:
            return
        parts: tuple[bytes, ...] = (frame,)
        start = 0
        if subject is not None:
            until = min(until, self._findable_until(asked, subject))
            if subject.is_plain:
                parts, start = _cut(frame, subject.key), len(asked) - len(subject.key) - 1
        if len(self.finished) >= MAX_ANSWERS or self._bytes > MAX_BYTES:
            self._forget_oldest()
        whole = until if until > _EVER else float(int(until))
        if whole != self._until:
            self._until = whole  # one object for all answers of this second
        self._set(asked, self._share(frame, self._until, parts, start, row))

    def _share(self, frame: bytes, until: float, parts: tuple[bytes, ...], start: int, row: Row) -> Finished:
        """The first of its kind is kept whole, which is smaller where no second comes."""
        key = hash((until, parts, start, row))
        if key not in self._alike:
            if len(self._alike) >= MAX_ALIKE:
                self._alike.clear()
            self._alike[key] = None
            return Finished(until, (frame,), 0, row)
        found = self._alike[key]
        if found is None or not found.says(until, parts, start, row):
            found = self._alike[key] = Finished(until, parts, start, row)
        return found

    def _set(self, asked: bytes, finished: Finished) -> None:
        before = self.finished.get(asked)
        if before is None:
            self._bytes += ASKED_COST + len(asked)
        else:
            self._release(before)
        if finished.users == 0:
            self._bytes += finished.cost
        finished.users += 1
        self.finished[asked] = finished

    def _release(self, finished: Finished) -> None:
        finished.users -= 1
        if finished.users == 0:
            self._bytes -= finished.cost

    def drop(self, domain: Domain) -> None:
        """End the answers about a domain."""
        for asked in (*(_question(name, domain) for name in self._map_names), *(self._odd.get(domain) or ())):
            if (found := self.finished.get(asked)) is not None:
                self._set(asked, self._ended[found.row])

    def drop_all(self) -> None:
        """End all answers."""
        self.dropped_all += 1
        for asked, found in self.finished.items():
            self._set(asked, self._ended[found.row])

    def _findable_until(self, asked: bytes, subject: Subject) -> float:
        """Until when `drop` will surely find the question; in the past: not at all, it is kept for its row alone."""
        if subject.is_plain:
            if len(self._map_names) < MAX_MAP_NAMES:
                self._map_names.add(subject.map_name)
            return float("inf") if subject.map_name in self._map_names else 0.0
        known = self._odd.get(subject.domain) or ()
        if asked not in known:
            if len(known) >= MAX_ODD_QUESTIONS:
                return 0.0
            self._odd.put(subject.domain, (*known, asked))
        return clock.monotonic() + ODD_SECONDS

    def _forget_oldest(self) -> None:
        """A tenth of them, the oldest first: a step of its own would walk over the gaps of all before."""
        for asked in list(islice(self.finished, len(self.finished) // 10 + 1)):
            self._release(self.finished.pop(asked))
            self._bytes -= ASKED_COST + len(asked)


def _cut(frame: bytes, domain: bytes) -> tuple[bytes, ...]:
    """What stands around the domain: joined with it, the frame again."""
    parts = frame.split(domain)
    return tuple(parts) if len(parts) <= MAX_PARTS else (frame,)


def _question(map_name: str, domain: Domain) -> bytes:
    return netstring.encode(f"{map_name} {domain}".encode("ascii"))
