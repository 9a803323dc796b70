"""Finished answers: whole frames, as they came off the socket, to whole frames to send. A hit is one lookup in a dict.

What is in it has an end of its own, and ends at once when something is learned about its domain. Sized so that a
hundred thousand busy domains fit into some forty MiB: nothing is kept beside a question but its answer, and how
questions are found again from their domain is worked out, not stored.
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
MAX_BYTES = 64 * 1024 * 1024  # of questions and answers
MAX_MAP_NAMES = 8
MAX_ODD_DOMAINS = 10_000
MAX_ODD_QUESTIONS = 8  # of one domain
ODD_SECONDS = 60.0

NOTFOUND_FRAME = netstring.encode(socketmap.NOTFOUND)

Finished = tuple[float, bytes, Row]
"""Until when (monotonic), the frame to send, the row of the decision."""


class Subject(NamedTuple):
    """What a question was about."""

    map_name: str
    key: bytes
    domain: Domain


class Memo:
    def __init__(self) -> None:
        self.finished: dict[bytes, Finished] = {}
        """For the server's quick path: look at the end before use."""
        self._bytes = 0
        self._map_names: set[str] = set()
        self._odd: Generations[Domain, tuple[bytes, ...]] = Generations(MAX_ODD_DOMAINS)
        """Questions whose key is not the plain domain: brackets, ports, capitals."""

    def find(self, asked: bytes) -> Finished | None:
        """The answer, if it still holds."""
        found = self.finished.get(asked)
        return found if found is not None and found[0] > clock.monotonic() else None

    def last_row(self, asked: bytes) -> Row | None:
        """The row of the last decision, though the answer may have ended."""
        found = self.finished.get(asked)
        return found[2] if found is not None else None

    def keep(
        self, asked: bytes, until: float, frame: bytes, row: Row, subject: Subject | None = None
    ) -> None:
        """`subject`: what it is about; None where it can never change."""
        if len(frame) > MAX_FRAME or len(asked) > MAX_FRAME:
            return
        if subject is not None:
            until = min(until, self._findable_until(asked, subject))
        before = self.finished.get(asked)
        self._bytes += len(frame) - len(before[1]) if before else len(asked) + len(frame)
        if len(self.finished) >= MAX_ANSWERS or self._bytes > MAX_BYTES:
            self._forget_oldest()
        self.finished[asked] = (until, frame, row)

    def drop(self, domain: Domain) -> None:
        """End the answers about a domain."""
        for asked in (*(_question(name, domain) for name in self._map_names), *(self._odd.get(domain) or ())):
            if (found := self.finished.get(asked)) is not None:
                self.finished[asked] = (0.0, *found[1:])

    def drop_all(self) -> None:
        """End all answers."""
        for asked, found in self.finished.items():
            self.finished[asked] = (0.0, *found[1:])

    def _findable_until(self, asked: bytes, subject: Subject) -> float:
        """Until when `drop` will surely find the question; in the past: not at all, it is kept for its row alone."""
        if subject.key == subject.domain.encode("ascii"):
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
            _, frame, _ = self.finished.pop(asked)
            self._bytes -= len(asked) + len(frame)


def _question(map_name: str, domain: Domain) -> bytes:
    return netstring.encode(f"{map_name} {domain}".encode("ascii"))
