"""What is known of a domain, gathered before it is judged."""

from dataclasses import dataclass
from datetime import date, datetime

from mailward.core.mtasts.policy import Mode


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who sent counted reports: sessions that no DANE decided."""

    name: str
    policy_type: str
    """`sts` or `no-policy-found`: of one reporter these are different sessions."""
    sessions: int
    """In the whole window."""
    recent: int
    """In its last days, which decide."""
    recent_refused: int
    """Those of them that would have been refused under enforce."""
    last_day: date


@dataclass(frozen=True, slots=True)
class Refused:
    """Failed sessions that are alike, and would have cost mail under enforce. Texts are strangers'."""

    sender: str
    mx: str
    """Empty: not said."""
    result_type: str
    sessions: int
    last_day: date


@dataclass(frozen=True, slots=True)
class Probe:
    """Our own last look, judged as if the policy that would be published were in force."""

    checked_at: datetime
    accepts: tuple[str, ...]
    refuses: tuple[str, ...]
    """MX hosts that a sender that enforces would pass over: not covered, no TLS, no valid certificate."""
    unobserved: tuple[str, ...]
    mx_ends_at: datetime | None
    """When the first certificate of an MX host ends; None: none was seen."""
    policy_ends_at: datetime | None
    """When that of the policy host does."""
    policy_seen: bool
    """Whether the policy was fetched with the text that is current."""
    id_seen: bool
    """Whether the record in DNS has its id."""


@dataclass(frozen=True, slots=True)
class Evidence:
    now: datetime
    mode: Mode | None
    """Of the current policy; None: there is none."""
    mode_since: datetime | None
    """Since when the policy has had this mode without a break."""
    max_age_seconds: int
    is_served: bool
    reporters: tuple[Reporter, ...] = ()
    refused: tuple[Refused, ...] = ()
    """In the whole window, the most sessions first."""
    dane_sessions: int = 0
    """Sessions reported as `tlsa`: shown apart, and decide nothing, since no policy changes them."""
    probe: Probe | None = None
    """None: nobody has looked yet."""
    fetches: int | None = None
    """How often senders fetched our policy in the window; None: not counted."""
    refusals: tuple[str, ...] = ()
    """Why a change to enforce would be refused now, in words."""

    @property
    def sts_sessions(self) -> int:
        return sum(each.sessions for each in self.reporters if each.policy_type == "sts")
