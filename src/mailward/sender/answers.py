"""From the bytes of a question to the bytes of its answer, and the memo between them.

The memo maps whole frames, as they came off the socket, to whole frames to send: a hit is one lookup in a
dict. What is in it has an end of its own, and is dropped at once when something is learned about its domain.
"""

import logging
from typing import NamedTuple

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.names import Domain
from mailward.core.postfix import netstring, socketmap
from mailward.core.postfix.answer import render
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop
from mailward.core.postfix.socketmap import QueryError, dialect_of, parse_query
from mailward.core.sending.facts import Decision, Facts, Row, Site, StsFinding, StsState
from mailward.core.sending.overrides import Action, Override, find_override
from mailward.core.sending.table import decide
from mailward.net import clock
from mailward.sender.knowledge import Knowledge, gather_facts
from mailward.sender.memory import Generations
from mailward.sender.metrics import Metrics

logger = logging.getLogger("mailward.sender")

MAX_MEMO = 100_000  # frames
MAX_MEMO_FRAME = (
    4_096  # longer answers are made anew: few policies are so long, and memory is bounded by this
)
MAX_MEMO_SECONDS = 300.0
FOREVER_SECONDS = 3600.0  # what follows from the key alone

_NOT_ASKED = DaneFinding(DaneState.OFF, "not asked")
_NO_STS = StsFinding(StsState.ABSENT, reason="not asked")


class Memo(NamedTuple):
    until: float
    """Monotonic."""
    frame: bytes
    row: Row


class Answers:
    def __init__(self, knowledge: Knowledge, site: Site, metrics: Metrics) -> None:
        self.knowledge = knowledge
        self.site = site
        self.metrics = metrics
        self.memo: Generations[bytes, Memo] = Generations(MAX_MEMO)
        self._overrides: tuple[Override, ...] = ()
        self._frames_of: Generations[Domain, tuple[bytes, ...]] = Generations(MAX_MEMO)
        self._rows: Generations[str, Row] = Generations(MAX_MEMO)
        knowledge.on_change = self.drop

    def use_overrides(self, overrides: tuple[Override, ...]) -> None:
        self._overrides = overrides
        self.drop_all()

    def drop(self, domain: Domain) -> None:
        """Forget the finished answers about a domain."""
        for frame in self._frames_of.pop(domain) or ():
            self.memo.pop(frame)

    def drop_all(self) -> None:
        self.memo.clear()
        self._frames_of.clear()

    async def answer(self, payload: bytes) -> bytes:
        """The framed reply to the payload of one netstring, in five seconds at most."""
        self.metrics.memo_misses += 1
        try:
            query = parse_query(payload)
        except QueryError as error:
            return netstring.encode(socketmap.perm(str(error)))
        nexthop = parse_nexthop(query.key)
        if isinstance(nexthop, NoPolicy):
            return self._finish(
                payload, None, Decision(Row.NOT_A_DOMAIN, nexthop), socketmap.NOTFOUND, FOREVER_SECONDS
            )
        decision, until = await self.decide(nexthop)
        reply = render(decision, dialect_of(query.map_name))
        self._note(nexthop, decision, reply)
        return self._finish(payload, nexthop.domain, decision, reply, until - clock.monotonic())

    async def decide(self, nexthop: NextHop) -> tuple[Decision, float]:
        """The decision, and until when it holds (monotonic)."""
        override = find_override(self._overrides, nexthop.domain, clock.today()) if self._overrides else None
        dane, sts, until = _NOT_ASKED, _NO_STS, clock.monotonic() + MAX_MEMO_SECONDS
        if override is None or override.action not in (Action.IGNORE, Action.REQUIRE):
            dane, sts, until = await gather_facts(self.knowledge, nexthop)
        return decide(Facts(nexthop.domain, dane, sts, self.site, override)), until

    def _finish(
        self, payload: bytes, domain: Domain | None, decision: Decision, reply: bytes, seconds: float
    ) -> bytes:
        frame = netstring.encode(reply)
        self.metrics.answers[decision.row] += 1
        if seconds > 0 and len(frame) <= MAX_MEMO_FRAME and len(payload) <= MAX_MEMO_FRAME:
            asked = netstring.encode(payload)
            until = clock.monotonic() + min(seconds, FOREVER_SECONDS if domain is None else MAX_MEMO_SECONDS)
            self.memo.put(asked, Memo(until, frame, decision.row))
            if domain is not None and asked not in (known := self._frames_of.get(domain) or ()):
                self._frames_of.put(domain, (*known, asked))
        return frame

    def _note(self, nexthop: NextHop, decision: Decision, reply: bytes) -> None:
        """One line for each changed decision; that nothing is known of a domain is no news."""
        name = str(nexthop)
        before = self._rows.get(name)
        if before is decision.row or (before is None and decision.row is Row.NOTHING):
            return
        self._rows.put(name, decision.row)
        self.metrics.decision_changes += 1
        facts = {"nexthop": name, "row": decision.row.value, "was": before.value if before else "-"}
        shown = reply[:200].decode("ascii", "replace")
        logger.info("decision-changed", extra=facts | {"answer": shown, "reason": decision.reason})
