"""From the bytes of a question to the bytes of its answer, and the memo between them.

The memo maps whole frames, as they came off the socket, to whole frames to send: a hit is one lookup in a
dict. What is in it has an end of its own, and is dropped at once when something is learned about its domain.
"""

import logging

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.postfix import netstring, socketmap
from mailward.core.postfix.answer import render
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop
from mailward.core.postfix.socketmap import QueryError, dialect_of, parse_query
from mailward.core.sending.facts import Decision, Facts, Row, Site, StsFinding, StsState
from mailward.core.sending.overrides import Action, Override, find_override
from mailward.core.sending.table import decide
from mailward.net import clock
from mailward.sender.hearsay import Hearsay, Listener
from mailward.sender.knowledge import ANSWER_SECONDS, Knowledge, gather_facts
from mailward.sender.memo import NOTFOUND_FRAME, Memo, Subject
from mailward.sender.metrics import Metrics

logger = logging.getLogger("mailward.sender")

MAX_UNTIL_SECONDS = 300.0  # of what an override has a say in: it may end today
AGAIN_SECONDS = 0.1  # for what is in the cache: the five seconds of an answer may be over
FOREVER_SECONDS = 3600.0  # what follows from the key alone

_NOT_ASKED = DaneFinding(DaneState.OFF, "not asked")
_NO_STS = StsFinding(StsState.ABSENT, reason="not asked")


class Answers:
    def __init__(self, knowledge: Knowledge, site: Site, metrics: Metrics) -> None:
        self.knowledge = knowledge
        self.site = site
        self.metrics = metrics
        self.memo = Memo()
        self.listener: Listener | None = None
        """Where other processes learn policies on the same cache."""
        self._overrides: tuple[Override, ...] = ()
        knowledge.on_change = self.memo.drop

    @property
    def override_count(self) -> int:
        return len(self._overrides)

    def use_overrides(self, overrides: tuple[Override, ...]) -> None:
        self._overrides = overrides
        self.memo.drop_all()

    def join(self, hearsay: Hearsay) -> None:
        """Hear what others learn, and let them hear."""
        self.listener = Listener(hearsay)
        self.knowledge.on_learned = hearsay.tell

    def listen(self) -> None:
        """Forget what is no longer so, because another process has learned better."""
        if self.listener is None:
            return
        domains = self.listener.listen()
        for domain in domains or ():
            self.knowledge.hear_of(domain)
        if domains is None:
            self.knowledge.hear_of_many()
            self.memo.drop_all()

    async def answer(self, payload: bytes) -> bytes:
        """The framed reply to the payload of one netstring, in five seconds at most."""
        self.metrics.memo_misses += 1
        try:
            query = parse_query(payload)
        except QueryError as error:
            return netstring.encode(socketmap.perm(str(error)))
        asked = netstring.encode(payload)
        nexthop = parse_nexthop(query.key)
        if isinstance(nexthop, NoPolicy):
            self.metrics.answers[Row.NOT_A_DOMAIN] += 1
            self.memo.keep(asked, clock.monotonic() + FOREVER_SECONDS, NOTFOUND_FRAME, Row.NOT_A_DOMAIN)
            return NOTFOUND_FRAME
        before = self._changes
        decision, until = await self._decide_as_all_know(nexthop)
        if self._changes != before:  # it may rest on what was so before
            until = 0.0
        self.metrics.answers[decision.row] += 1
        reply = render(decision, dialect_of(query.map_name))
        frame = NOTFOUND_FRAME if reply == socketmap.NOTFOUND else netstring.encode(reply)
        self._note(nexthop, decision, reply, asked)
        self.memo.keep(asked, until, frame, decision.row, Subject(query.map_name, query.key, nexthop.domain))
        return frame

    @property
    def _changes(self) -> tuple[int, int]:
        """Those that commands, the operator's overrides and the resolver have made."""
        return self.knowledge.forgotten, self.memo.dropped_all

    async def _decide_as_all_know(self, nexthop: NextHop) -> tuple[Decision, float]:
        """As `decide`, and again where another process has learned the policy while we looked and did not find it."""
        if self.listener is None:
            return await self.decide(nexthop)
        number = self.listener.number[0]
        decision, until = await self.decide(nexthop)
        if self.listener.number[0] != number:
            _, domains = self.listener.hearsay.since(number)
            if domains is None or nexthop.domain in domains:
                self.listen()
                return await self.decide(nexthop, AGAIN_SECONDS)
        return decision, until

    async def decide(self, nexthop: NextHop, seconds: float = ANSWER_SECONDS) -> tuple[Decision, float]:
        """The decision, in so many seconds, and until when it holds (monotonic)."""
        override = None
        if self._overrides:
            override = find_override(self._overrides, nexthop.domain, self.knowledge.today())
        dane, sts, until = _NOT_ASKED, _NO_STS, float("inf")
        if override is None or override.action not in (Action.IGNORE, Action.REQUIRE):
            dane, sts, until = await gather_facts(self.knowledge, nexthop, seconds)
        if override is not None:
            until = min(until, clock.monotonic() + MAX_UNTIL_SECONDS)
        return decide(Facts(nexthop.domain, dane, sts, self.site, override)), until

    def _note(self, nexthop: NextHop, decision: Decision, reply: bytes, asked: bytes) -> None:
        """One line for each changed decision; that nothing is known of a domain is no news."""
        before = self.memo.last_row(asked)
        if before is decision.row or (before is None and decision.row is Row.NOTHING):
            return
        self.metrics.decision_changes += 1
        logger.info(
            "decision-changed",
            extra={
                "nexthop": str(nexthop),
                "row": decision.row.value,
                "was": before.value if before else "-",
                "answer": reply[:200].decode("ascii", "replace") + ("..." if len(reply) > 200 else ""),
                "reason": decision.reason,
            },
        )
