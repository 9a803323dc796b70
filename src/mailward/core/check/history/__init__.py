"""What only shows over time: a check's facts beside those of earlier checks of the same domain. Pure.

    earlier = [read_moment(line) for line in lines]         # documents of `mailward check --json`
    judge_history(earlier, make_moment(facts)).findings     # or run(facts, earlier), which has all findings

Between two checks anything may have happened: what is said here is what must have, by what was seen. RFC 8461 sections
8.1 and 8.3 say in what order a policy is changed and removed, RFC 7671 section 8 how TLSA records are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from mailward.core.check import schema
from mailward.core.check.facts import Facts
from mailward.core.check.factsdocument import build_facts
from mailward.core.check.finding import Finding
from mailward.core.check.history import certificates, copies, ids
from mailward.core.check.schema import Moment

MAX_MOMENTS = 10_000


@dataclass(frozen=True, slots=True)
class History:
    checks: int = 0
    """How many earlier ones were looked at."""
    since: datetime | None = None
    findings: tuple[Finding, ...] = ()
    longest_max_age: int | None = None
    """Seconds: the longest of any policy that was seen."""
    copies_until: datetime | None = None
    """When the last copy ends of a policy that was seen: then, plus its max_age."""


def judge_history(earlier: Sequence[Moment], now: Moment) -> History:
    """Takes moments in any order; those of other domains, of dry runs and of later times do not count."""
    kept = [each for each in earlier if each.domain == now.domain and each.at < now.at and not each.supposed]
    kept = sorted(kept, key=lambda each: each.at)[-MAX_MOMENTS:]
    moments = [*kept, now]
    served = copies.find_copies(moments)
    findings = (
        *ids.judge_ids(moments),
        *copies.judge_copies(moments, served),
        *certificates.judge_issuers(moments),
        *certificates.judge_renewals(moments),
    )
    return History(
        len(kept),
        kept[0].at if kept else None,
        findings,
        max((each.max_age for each in served), default=None),
        max((each.until for each in served), default=None),
    )


def make_moment(facts: Facts) -> Moment:
    seen = msgspec.convert(build_facts(facts), schema.Facts)
    return Moment(1, facts.domain, facts.at, list(facts.supposed), seen)
