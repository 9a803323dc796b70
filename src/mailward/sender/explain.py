"""Everything that leads to the answer about one domain, step by step: asked anew, beside the running daemon.

The cache is read and never written; what is remembered there is shown with what DNS and HTTPS say now.
"""

import asyncio
from dataclasses import dataclass, field

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.mtasts.decide import Expired, Fetch, Refresh, Use, decide
from mailward.core.postfix.answer import render
from mailward.core.postfix.nexthop import NextHop
from mailward.core.postfix.socketmap import Dialect
from mailward.core.sending import table
from mailward.core.sending.facts import Decision, Facts, Site, StsFinding, StsState
from mailward.core.sending.overrides import Override, find_override
from mailward.net import clock
from mailward.net.fetch import FetchError
from mailward.net.resolver import Answer, Resolver
from mailward.sender.cache import Entry
from mailward.sender.discovery import Discovery, RecordFinding


@dataclass(frozen=True, slots=True)
class Step:
    """One question to DNS or HTTPS."""

    what: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    nexthop: NextHop
    steps: tuple[Step, ...]
    entry: Entry | None
    record: RecordFinding
    fetch: str
    """What came of the fetch, or why none was needed."""
    dane: DaneFinding
    sts: StsFinding
    override: Override | None
    decision: Decision
    answers: dict[Dialect, bytes] = field(default_factory=dict)


class TracingResolver(Resolver):
    """Writes down every lookup."""

    steps: list[Step]

    async def lookup(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:  # type: ignore[override]
        started = clock.monotonic()
        answer: Answer[str] | Answer[bytes] = await super().lookup(name, rdtype)  # type: ignore[call-overload]
        self.steps.append(Step(f"{rdtype} {name}", _shown(answer), clock.monotonic() - started))
        return answer


async def explain(
    nexthop: NextHop,
    discovery: Discovery,
    steps: list[Step],
    *,
    entry: Entry | None,
    site: Site,
    overrides: tuple[Override, ...],
    validates: bool,
) -> Explanation:
    """`steps` is the list that the discovery's resolver writes to; `entry` is what the cache holds."""
    now = clock.now()
    (dane, record) = await asyncio.gather(
        _find_dane(nexthop, discovery, validates), discovery.find_record(nexthop.domain)
    )
    sts, fetch = await _find_sts(nexthop, discovery, steps, entry, record, int(now.timestamp()))
    override = find_override(overrides, nexthop.domain, now.date())
    decision = table.decide(Facts(nexthop.domain, dane, sts, site, override))
    answers = {dialect: render(decision, dialect) for dialect in Dialect}
    return Explanation(nexthop, tuple(steps), entry, record, fetch, dane, sts, override, decision, answers)


async def _find_dane(nexthop: NextHop, discovery: Discovery, validates: bool) -> DaneFinding:
    if not validates:
        return DaneFinding(DaneState.OFF, "no resolver that validates, or switched off")
    finding, _ = await discovery.find_dane(nexthop)
    return finding


async def _find_sts(
    nexthop: NextHop,
    discovery: Discovery,
    steps: list[Step],
    entry: Entry | None,
    found: RecordFinding,
    now: int,
) -> tuple[StsFinding, str]:
    cached = entry.cached if entry else None
    step = decide(cached, found.record, None, now, 0.0)
    if isinstance(step, Use):
        return StsFinding(
            StsState.LIVE, step.policy
        ), "not needed: the cached policy is live and its id unchanged"
    if isinstance(step, Refresh | Fetch):
        started = clock.monotonic()
        what = f"GET https://mta-sts.{nexthop.domain}/.well-known/mta-sts.txt"
        try:
            fetched = await discovery.fetch(nexthop.domain)
        except FetchError as error:
            steps.append(Step(what, f"{error.code}: {error}", clock.monotonic() - started))
            if isinstance(step, Refresh):
                return StsFinding(StsState.LIVE, step.policy), f"failed, so the cached policy stays: {error}"
            return StsFinding(StsState.FETCH_FAILED, reason=f"{error.code}: {error}"), f"failed: {error}"
        steps.append(
            Step(what, f"{len(fetched.body)} bytes from {fetched.address}", clock.monotonic() - started)
        )
        return StsFinding(StsState.LIVE, fetched.policy), "fetched"
    if found.has_failed:
        return StsFinding(StsState.RECORD_FAILED, reason=found.reason), "not tried: the record is not known"
    state = StsState.EXPIRED if isinstance(step, Expired) else StsState.ABSENT
    return StsFinding(state, reason=found.reason), "not tried: no record announces a policy"


def _shown(answer: Answer[str] | Answer[bytes]) -> str:
    records = ", ".join(
        record.decode("ascii", "backslashreplace") if isinstance(record, bytes) else record
        for record in answer.records[:8]
    )
    parts = [f"by CNAME {answer.chain[-1]}"] if answer.chain else []
    if answer.authenticated:
        parts.append("secure")
    if answer.reason:
        parts.append(answer.reason)
    return (records or answer.status.value) + (f" ({', '.join(parts)})" if parts else "")
