"""Policies that could not be had, counted for the reports (RFC 8461 section 6, RFC 8460 section 4.3.2.2).

At first contact, mail has asked; Postfix's datagram about that mail tells of its session, as `no-policy-found`. A
policy that was learned before is fetched anew every day, and what fails there is reportable whether mail comes or not:
a datagram, where there is one, says `sts`. Added here is why there was none, or that the one used could not be
refreshed: a detail without a session. One fetch that failed is one detail; it stands beside the sessions of that
policy, or alone beside none.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from mailward.core.mtasts.policy import Policy as StsPolicy
from mailward.core.names import Domain
from mailward.core.tlsrpt.blindspots import no_policy_label, sts_label
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.record import VERSION
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail
from mailward.core.txt import NoRecord, RecordError, pick_record
from mailward.net import clock
from mailward.net.resolver import Resolver, Status
from mailward.sender.memory import Generations

logger = logging.getLogger("mailward.sender")

MAX_WAITING = 1_000
MAX_RECORDS = 10_000
MAX_RECORD_SECONDS = 3600.0
FALLBACK = "+fallback-to-cached-policy"
_SECTION = "RFC 8460 section 3"


class Unmet(NamedTuple):
    domain: Domain
    result_type: ResultType
    code: str
    """Of the FetchError."""
    used: StsPolicy | None
    """The policy that was learned before, and holds."""


class UnmetPolicies:
    def __init__(self, resolver: Resolver, send: Callable[[Tally], bool], site_level: str) -> None:
        """`site_level`: Postfix's own (`sender.default_level`)."""
        self._resolver = resolver
        self._site_level = site_level
        self._send = send
        self._waiting: asyncio.Queue[Unmet] = asyncio.Queue(MAX_WAITING)
        self._records: Generations[Domain, tuple[float, str]] = Generations(MAX_RECORDS)
        """Until when (monotonic), and the TLSRPT record; empty: there is none."""
        self.lost = 0

    def note(self, unmet: Unmet) -> None:
        """Never waits."""
        try:
            self._waiting.put_nowait(unmet)
        except asyncio.QueueFull:
            self.lost += 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            unmet = await self._waiting.get()
            try:
                await self._count(unmet)
            except Exception:  # a mistake of ours about one domain must not end the counting of all others
                logger.exception("unmet-crashed", extra={"domain": unmet.domain})

    async def _count(self, unmet: Unmet) -> None:
        record = await self._record(unmet.domain)
        if record is None or (record and not self._send(_tally(unmet, record, self._site_level))):
            self.lost += 1

    async def _record(self, domain: Domain) -> str | None:
        """Empty: it asks for no reports. None: not known."""
        known = self._records.get(domain)
        if known is not None and known[0] > clock.monotonic():
            return known[1]
        answer = await self._resolver.txt(f"_smtp._tls.{domain}")
        if answer.status is Status.FAILED:
            return None
        record = _pick(answer.records)
        self._records.put(domain, (clock.monotonic() + min(answer.ttl, MAX_RECORD_SECONDS), record))
        return record


def _pick(records: tuple[bytes, ...]) -> str:
    try:
        return pick_record(records, VERSION, _SECTION)
    except (NoRecord, RecordError):
        return ""


def _tally(unmet: Unmet, record: str, site_level: str) -> Tally:
    failure = FailureDetail(
        result_type=unmet.result_type, failure_reason_code=unmet.code + (FALLBACK if unmet.used else "")
    )
    # of the datagram about the same mail, so that both are one entry of the report
    policy = sts_label(unmet.domain, unmet.used, site_level) if unmet.used else no_policy_label(unmet.domain)
    return Tally(clock.today(), unmet.domain, record, policy, Origin.DISCOVERY, 0, 0, (Detail(failure, 1),))
