"""What the destinations of a mail log would have met: decided now, judged by what the log shows of their hosts.

The decision is made by the daemon's own parts, on what its cache holds and what DNS and HTTPS say now; nothing is
written. Whether mail would then have been delivered depends on the hosts: on their names, and on the certificates
that they showed when mail last went there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mailward.config import Settings
from mailward.core.mtasts.decide import Failure
from mailward.core.names import Domain, matches_mx
from mailward.core.postfix.answer import render
from mailward.core.postfix.maillog import Relay
from mailward.core.postfix.maillog import Trust as Seen
from mailward.core.postfix.nexthop import NextHop
from mailward.core.postfix.socketmap import Dialect
from mailward.core.sending.facts import Decision, Level, Row
from mailward.net.dnssec import Trust, check_validation
from mailward.net.resolver import Resolver
from mailward.sender.answers import Answers
from mailward.sender.cache import Entry, PolicyCache, Version
from mailward.sender.daemon import make_site
from mailward.sender.discovery import make_discovery
from mailward.sender.knowledge import Knowledge
from mailward.sender.metrics import Metrics
from mailward.sender.observed import Destination, Observed
from mailward.sender.shadow import Shadowed
from mailward.sender.watch import read_overrides

AT_ONCE = 32  # decisions side by side: DNS and strangers' policy hosts are not to be stormed

_GOOD = (Seen.TRUSTED, Seen.VERIFIED)


class Outcome(StrEnum):
    """What enforcement would have done with the mail."""

    SAME = "same"
    """Nothing is asked of the connection that Postfix does not do anyway."""
    PROTECTED = "protected"
    """The hosts that took mail can show what is asked for, as far as the log tells."""
    NOT_SEEN = "not-seen"
    """Something is asked for, and the log does not tell whether the hosts have it."""
    PARTLY = "partly"
    """Some of the hosts that took mail would be refused, others not: mail goes to those."""
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Met:
    domain: Domain
    destination: Destination
    decision: Decision
    answer: str
    """The line for Postfix before 3.10, as it goes over the socket."""
    outcome: Outcome
    reasons: tuple[str, ...]


class Overlay:
    """A PolicyCache that reads another, and keeps what it is given to itself."""

    def __init__(self, below: PolicyCache | None) -> None:
        self._below = below
        self._entries: dict[Domain, Entry] = {}

    async def load(self, domain: Domain) -> Entry | None:
        if domain in self._entries:
            return self._entries[domain]
        return await self._below.load(domain) if self._below else None

    async def put(self, entry: Entry) -> bool:
        self._entries[entry.domain] = entry
        return True

    async def put_late(self, entry: Entry) -> bool:
        return await self.put(entry)

    async def note(self, domain: Domain, fetched_at: int, failure: Failure | None, refresh_at: int) -> bool:
        return domain in self._entries  # one answer a domain is asked for: there is no next time

    async def touch(self, domains: Sequence[Domain], now: int) -> None:
        """Uses are not noted."""

    async def due(self, now: int, limit: int) -> list[Domain]:
        return []

    async def remove(self, domain: Domain) -> bool:
        return self._entries.pop(domain, None) is not None

    async def listing(self) -> list[Entry]:
        return list(self._entries.values())

    async def damaged(self) -> list[Domain]:
        return []

    async def history(self, domain: Domain) -> list[Version]:
        return []

    def last_use(self) -> int | None:
        return self._below.last_use() if self._below else None

    async def note_dane(self, nexthop: str, now: int, forget_before: int) -> None:
        """What is seen now says nothing of the days in the log."""

    async def dane_full_at(self, nexthop: str) -> int | None:
        return await self._below.dane_full_at(nexthop) if self._below else None

    async def last_dane_at(self) -> int | None:
        return await self._below.last_dane_at() if self._below else None

    async def close(self) -> None:
        if self._below is not None:
            await self._below.close()


async def replay(observed: Observed, answers: Answers, on_done: Callable[[], None]) -> AsyncIterator[Met]:
    """Every destination, those with the most mail first. `on_done` is called after each."""
    ordered = sorted(observed.destinations.items(), key=lambda item: (-item[1].messages, item[0]))
    for start in range(0, len(ordered), AT_ONCE):
        chunk = ordered[start : start + AT_ONCE]
        decisions = await asyncio.gather(*(answers.decide(NextHop(domain)) for domain, _ in chunk))
        for (domain, destination), (decision, _) in zip(chunk, decisions, strict=True):
            on_done()
            yield judge(domain, destination, decision, observed, answers.site.default_level)


def judge(
    domain: Domain,
    destination: Destination,
    decision: Decision,
    observed: Observed,
    default_level: Level | None = None,
) -> Met:
    """`default_level`: Postfix's own, as we are told."""
    answer = render(decision, Dialect.PLAIN).decode("ascii", "replace")
    outcome, reasons = _judge(destination, decision, observed, default_level)
    return Met(domain, destination, decision, answer, outcome, tuple(reasons))


def judge_shadowed(
    row: Shadowed, observed: Observed, default_level: Level | None = None
) -> tuple[Outcome, list[str]]:
    """What shadow mode wrote down, judged by what the log shows of the hosts of that domain."""
    decision = _decision_of(row)
    destination = observed.destinations.get(Domain(row.nexthop), Destination())
    return _judge(destination, decision, observed, default_level)


def _decision_of(row: Shadowed) -> Decision:
    """As much of the decision as its answer tells."""
    word, _, rest = row.answer.partition(" ")
    if word == "TEMP":
        return Decision(Row(row.row), row.reason, is_deferral=True)
    words = rest.split()
    if word != "OK" or not words:
        return Decision(Row(row.row), row.reason)
    names = next((item.removeprefix("match=").split(":") for item in words if item.startswith("match=")), [])
    match = tuple(f"*{name}" if name.startswith(".") else name for name in names)
    return Decision(Row(row.row), row.reason, Level(words[0]), match=match)


def _judge(
    destination: Destination, decision: Decision, observed: Observed, default_level: Level | None
) -> tuple[Outcome, list[str]]:
    if decision.is_deferral:
        return Outcome.DEFERRED, [decision.reason]
    if decision.level is Level.DANE and default_level is not Level.DANE:
        return Outcome.NOT_SEEN, ["hosts with TLSA records must fit them, which the log does not tell"]
    if decision.level not in (Level.SECURE, Level.DANE_ONLY, Level.ENCRYPT):
        return Outcome.SAME, []
    if not destination.relays:
        return Outcome.NOT_SEEN, ["no host took mail in this log"]
    verdicts = {relay: _judge_relay(relay, decision, observed) for relay in destination.relays}
    reasons = [f"{relay}: {reason}" for relay, (_, reason) in verdicts.items() if reason]
    found = {verdict for verdict, _ in verdicts.values()}
    if found == {Outcome.DEFERRED}:
        return Outcome.DEFERRED, reasons
    if Outcome.DEFERRED in found:
        return Outcome.PARTLY, reasons
    return (Outcome.NOT_SEEN if Outcome.NOT_SEEN in found else Outcome.PROTECTED), reasons


def _judge_relay(relay: Relay, decision: Decision, observed: Observed) -> tuple[Outcome, str]:
    if decision.match and not any(matches_mx(pattern, relay.name) for pattern in decision.match):
        return Outcome.DEFERRED, f"its name is none of {' '.join(decision.match[:5])}"
    trusts = observed.trusts.get(relay)
    if not observed.shows_tls:
        return Outcome.NOT_SEEN, "the log has no lines about TLS (smtp_tls_loglevel = 1 writes them)"
    if not trusts:
        return Outcome.DEFERRED, "it was never seen with TLS"
    if decision.level is Level.ENCRYPT:
        return Outcome.PROTECTED, ""
    if any(trusts[trust] for trust in _GOOD):
        return Outcome.PROTECTED, "" if trusts[
            Seen.VERIFIED
        ] else "trusted authority; the name was not looked at"
    if decision.level is Level.DANE_ONLY:
        return Outcome.NOT_SEEN, "its certificate was not compared with TLSA records"
    if not observed.shows_trust:
        return Outcome.NOT_SEEN, "no certificate in the log is trusted: smtp_tls_CAfile was not set"
    if not trusts[Seen.UNTRUSTED]:
        return Outcome.NOT_SEEN, "anonymous TLS: no certificate was asked for"
    return Outcome.DEFERRED, "its certificate was never trusted"


async def make_answers(settings: Settings, cache: PolicyCache, resolver: Resolver) -> Answers:
    """The daemon's parts that decide, on this cache. Raises OverridesInvalid."""
    sender = settings.sender
    metrics = Metrics()
    knowledge = Knowledge(cache, make_discovery(settings, resolver), metrics, sender.recheck_seconds)
    answers = Answers(knowledge, make_site(settings), metrics)
    if sender.overrides:
        answers.use_overrides(read_overrides(Path(sender.overrides)))
    if sender.dane:
        validation = await check_validation(resolver, sender.dnssec_secure_name, sender.dnssec_bogus_name)
        knowledge.dane.is_on = validation.trust is Trust.VALIDATES
    knowledge.dane.validation_seen.set()
    return answers
