"""What a sender does about one domain's policy now (RFC 8461 sections 3.3 and 5.1).

    decide(cached, record, failure, now, jitter)  ->  Use | Refresh | Fetch | BackOff | Expired | Absent

A policy lives from its last fetch over HTTPS, and from nothing else: a TXT record that says "unchanged"
proves nothing, since whoever can forge DNS would keep an old policy alive with it, or a resolver's cache
would. And a live policy never ends early: neither a missing record nor a failed fetch takes it away.
"""

from dataclasses import dataclass

from mailward.core.mtasts.policy import MAX_AGE_LIMIT, Policy
from mailward.core.mtasts.record import Record

DAY_SECONDS = 86_400
MIN_LIFETIME_SECONDS = 300  # max_age 0 would otherwise mean a fetch for every message
BACK_OFF_SECONDS = 300  # RFC 8461 §3.3: at least five minutes after a failed fetch
MAX_BACK_OFF_SECONDS = 6 * 3600
NEW_ID_SECONDS = 60  # a new id ends the pause, but ids that change all the time are no way to make us fetch
_JITTER_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Cached:
    """The policy last fetched. Times are seconds since 1970."""

    policy: Policy
    policy_id: str
    """Of the record that was seen before the fetch."""
    fetched_at: int

    @property
    def expires_at(self) -> int:
        # RFC 8461 §3.2: one year at most; to ignore a policy for a larger value would fail open
        seconds = min(self.policy.max_age_seconds, MAX_AGE_LIMIT)
        return self.fetched_at + max(seconds, MIN_LIFETIME_SECONDS)

    def is_live(self, now: int) -> bool:
        return now < self.expires_at

    def refresh_at(self, jitter: float) -> int:
        """When HTTPS is asked again, whatever the record says. `jitter` is 0 to 1: domains must not come in a row."""
        # RFC 8461 §10.2: early enough that an attacker has to block many fetches, not one
        period = min(DAY_SECONDS, (self.expires_at - self.fetched_at) // 2)
        return self.fetched_at + int(period * (1 - _JITTER_SHARE * jitter))


@dataclass(frozen=True, slots=True)
class Failure:
    """Fetches that failed since the last that did not."""

    policy_id: str
    """The id in the record then; empty where there was no usable record."""
    failed_at: int
    count: int
    reason: str = ""
    code: str = ""
    """Stable slug of what went wrong, for reports."""

    def retry_at(self, policy_id: str) -> int:
        if policy_id and policy_id != self.policy_id:
            return self.failed_at + NEW_ID_SECONDS
        doubled = BACK_OFF_SECONDS << min(max(self.count - 1, 0), 10)
        return self.failed_at + min(doubled, MAX_BACK_OFF_SECONDS)


@dataclass(frozen=True, slots=True)
class Use:
    """The policy applies, and nothing is to be fetched."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class Refresh:
    """The policy applies; fetch it again, and keep it if that fails."""

    policy: Policy
    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """No policy applies yet: fetch the one that the record announces."""

    policy_id: str


@dataclass(frozen=True, slots=True)
class BackOff:
    """A record announces a policy, but a fetch failed lately. RFC 8461 §3.3: deliver as without MTA-STS."""

    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """There was a policy; nothing announces one now."""


@dataclass(frozen=True, slots=True)
class Absent:
    """No policy, and nothing that announces one."""


Step = Use | Refresh | Fetch | BackOff | Expired | Absent


def decide(
    cached: Cached | None, record: Record | None, failure: Failure | None, now: int, jitter: float
) -> Step:
    """`record`: the one usable `_mta-sts` record, or None. `now` is seconds since 1970."""
    policy_id = record.policy_id if record else ""
    # one noted while the clock was ahead would hold off every fetch until that date
    is_recent = failure is not None and failure.failed_at <= now + BACK_OFF_SECONDS
    retry_at = failure.retry_at(policy_id) if failure is not None and is_recent else now
    if cached is not None and cached.is_live(now):
        reason = _why_refresh(cached, policy_id, now, jitter)
        return Refresh(cached.policy, reason) if reason and retry_at <= now else Use(cached.policy)
    if record is None:
        return Absent() if cached is None else Expired()
    if failure is not None and now < retry_at:
        return BackOff(retry_at, failure.reason)
    return Fetch(policy_id)


def _why_refresh(cached: Cached, policy_id: str, now: int, jitter: float) -> str:
    if policy_id and policy_id != cached.policy_id:
        # RFC 8461 §3.1: ids have no order, any change counts
        return f"the id changed from {cached.policy_id} to {policy_id}"
    if now >= cached.refresh_at(jitter):
        return "the daily refresh is due"
    if cached.fetched_at > now + DAY_SECONDS:
        return "it was fetched in the future: the clock was set back since, and its refresh would not come"
    return ""
