"""How long copies of policies live that senders fetched, and what they do to the domain of now (RFC 8461 §8.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailward.core.check.codes import Code
from mailward.core.check.facts import Found
from mailward.core.check.finding import Finding
from mailward.core.check.schema import Moment, Policy
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import MAX_AGE_LIMIT
from mailward.core.names import matches_mx


@dataclass(frozen=True, slots=True)
class Copy:
    """Of a policy, fetched when it was last seen."""

    policy: Policy
    policy_id: str
    seen_at: datetime

    @property
    def max_age(self) -> int:
        return min(self.policy.max_age, MAX_AGE_LIMIT)

    @property
    def until(self) -> datetime:
        return self.seen_at + timedelta(seconds=self.max_age)

    def __str__(self) -> str:
        return (
            f"seen {self.seen_at:%Y-%m-%d %H:%M} UTC: id {self.policy_id}, mode {self.policy.mode}, max_age "
            f"{self.policy.max_age}: copies live until {self.until:%Y-%m-%d}"
        )


def find_copies(moments: Sequence[Moment]) -> tuple[Copy, ...]:
    """One for each id and policy, in the order of their last sight."""
    found: dict[tuple[str, str, int, tuple[str, ...]], Copy] = {}
    for moment in moments:
        facts = moment.facts
        if facts.sts_id and facts.policy is not None:
            key = (facts.sts_id, facts.policy.mode, facts.policy.max_age, tuple(facts.policy.mx))
            found.pop(key, None)
            found[key] = Copy(facts.policy, facts.sts_id, moment.at)
    return tuple(found.values())


def judge_copies(moments: Sequence[Moment], copies: Sequence[Copy]) -> Iterator[Finding]:
    now = moments[-1]
    facts = now.facts
    is_live = bool(facts.sts_id) and facts.policy is not None
    old = [
        copy
        for copy in copies
        # a new id that announces a policy ends copies with the next message
        if copy.until > now.at and copy.seen_at < now.at and not (is_live and copy.policy_id != facts.sts_id)
    ]
    enforced = [copy for copy in old if copy.policy.mode == "enforce"]
    if enforced and not is_live and _is_removed(now):
        evidence = (*map(str, enforced), f"TXT {facts.sts_record.name}: {facts.sts_record.status}")
        yield Finding(Code.POLICY_REMOVED, Severity.WARNING, now.domain, evidence)
    severity = Severity.WARNING if is_live else Severity.CRITICAL  # a live one is fetched again every day
    for host in facts.hosts:
        uncovering = [copy for copy in enforced if not _covers(copy.policy, host.name)]
        if uncovering and not (is_live and facts.policy and _excludes(facts.policy, host.name)):
            patterns = tuple(f"mx: {pattern}" for pattern in uncovering[-1].policy.mx[:10])
            evidence = (f"MX {host.name}", *map(str, uncovering), *patterns)
            yield Finding(Code.MX_NOT_IN_OLD_POLICY, severity, host.name, evidence)
    yield from _dangling(now, old)


def _is_removed(now: Moment) -> bool:
    """The record is gone, and not merely unseen: copies are never told of a new policy then."""
    record = now.facts.sts_record
    return record.status is not Found.FAILED and not any(
        text.lower().startswith("v=stsv1") for text in record.records
    )


def _dangling(now: Moment, old: list[Copy]) -> Iterator[Finding]:
    """Whoever gets hold of the name can serve copies their next policy (RFC 8461 section 10.2: they are refreshed)."""
    host = now.facts.policy_host
    chain = host.a.cnames or host.aaaa.cnames
    gone = all(lookup.status in (Found.NXDOMAIN, Found.NODATA) for lookup in (host.a, host.aaaa))
    if old and chain and gone:
        evidence = (f"{host.a.name} CNAME {' CNAME '.join(chain)}: {host.a.status}", *map(str, old[-3:]))
        yield Finding(Code.POLICY_HOST_DANGLING, Severity.WARNING, host.a.name, evidence)


def _excludes(policy: Policy, host: str) -> bool:
    """The policy of now does not cover it either: another finding says that."""
    return policy.mode != "none" and not _covers(policy, host)


def _covers(policy: Policy, host: str) -> bool:
    return any(matches_mx(pattern, host) for pattern in policy.mx)
