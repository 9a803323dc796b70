"""The record's id against the policy (RFC 8461 sections 3.1 and 8.1): which was changed first, or alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.schema import Moment, Policy
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import MAX_AGE_LIMIT

_PATIENCE = timedelta(days=1)  # between a new policy and its new id: the record's TTL has to pass, not more
_MEMORY = timedelta(days=30)  # how long an id that changed alone is told


@dataclass(frozen=True, slots=True)
class _Step:
    at: datetime
    policy_id: str
    policy: Policy

    def __str__(self) -> str:
        patterns = " ".join(self.policy.mx[:10])
        return (
            f"{self.at:%Y-%m-%d %H:%M} UTC: id {self.policy_id}, mode {self.policy.mode}, max_age "
            f"{self.policy.max_age}, mx {patterns or 'none'}"
        )


def judge_ids(moments: Sequence[Moment]) -> Iterator[Finding]:
    """Of the id that is published now."""
    now = moments[-1]
    runs = [list(run) for _, run in groupby(_steps(moments), key=lambda step: step.policy_id)]
    if not runs or runs[-1][-1].at != now.at:
        return  # what is published now cannot be used: other findings say so
    current, before = runs[-1], runs[-2] if len(runs) > 1 else []
    name = now.facts.sts_record.name
    last = current[-1]
    others = [step for step in current if not _same(step, last)]
    if others:
        shown = tuple(str(step) for step in (others[0], _first_like(current, last)))
        if before and all(_same(step, before[-1]) for step in others):
            if now.at < others[-1].at + timedelta(seconds=min(others[-1].policy.max_age, MAX_AGE_LIMIT)):
                yield Finding(Code.STS_ID_BEFORE_POLICY, Severity.WARNING, name, (str(before[-1]), *shown))
            return
        is_fresh = now.at - _first_like(current, last).at < _PATIENCE
        severity = Severity.NOTICE if is_fresh else Severity.WARNING
        yield Finding(Code.STS_ID_UNCHANGED, severity, name, shown)
    elif (
        before and all(_same(step, last) for step in (*before, *current)) and now.at - current[0].at < _MEMORY
    ):
        # a policy that came under the old id, before the new one, is the right order, and not the same throughout
        yield Finding(Code.STS_ID_CHANGED_ALONE, Severity.NOTICE, name, (str(before[-1]), str(current[0])))


def _steps(moments: Sequence[Moment]) -> Iterator[_Step]:
    for moment in moments:
        facts = moment.facts
        bodies = {fetch.body for fetch in facts.policy_host.fetches if fetch.body is not None}
        if facts.sts_id and facts.policy is not None and len(bodies) == 1:
            yield _Step(moment.at, facts.sts_id, facts.policy)


def _same(one: _Step, other: _Step) -> bool:
    """For senders: line ends and unknown fields are no difference."""
    mine, theirs = one.policy, other.policy
    return (mine.mode, mine.max_age, sorted(mine.mx)) == (theirs.mode, theirs.max_age, sorted(theirs.mx))


def _first_like(run: list[_Step], last: _Step) -> _Step:
    """The first of those at the end that have its policy."""
    first = last
    for step in reversed(run):
        if not _same(step, last):
            break
        first = step
    return first
