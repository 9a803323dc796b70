"""The one interface behind which learned policies are kept; `sqlite` is the store of one host.

A store for several hosts has the same shape: whatever it is, `put` returns when the policy would survive a crash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailward.core.mtasts.decide import Cached, Failure
from mailward.core.names import Domain


class CacheError(Exception):
    """The store cannot be read or written; the text says why. Nothing may be concluded from its silence."""

    code = "cache"


class DamagedEntry(CacheError):
    """What is kept of one domain cannot be read; of the others it says nothing. A fetch that succeeds replaces it.

    Times are seconds since 1970: of its last fetch, and until when its policy would have held.
    """

    code = "cache-entry"

    def __init__(self, domain: Domain, fetched_at: int, expires_at: int, reason: str) -> None:
        super().__init__(f"the entry of {domain} is damaged: {reason}")
        self.domain = domain
        self.fetched_at = fetched_at
        self.expires_at = expires_at


@dataclass(frozen=True, slots=True)
class Entry:
    domain: Domain
    cached: Cached
    failure: Failure | None = None
    """Of the refreshes since."""
    refresh_at: int = 0
    """When HTTPS is asked again, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Version:
    """One policy that a domain had."""

    first_seen_at: int
    policy_id: str
    text: str


class PolicyCache(Protocol):
    """Each method raises CacheError."""

    async def load(self, domain: Domain) -> Entry | None:
        """The policy, ended or not. Raises DamagedEntry too."""

    async def put(self, entry: Entry) -> bool:
        """Keep it; returns when it is durable. A text unlike the one before is added to the history.

        False, and nothing is changed, where another process has put one that was fetched later. One that was fetched
        in the future is no reason: the clock was ahead.
        """

    async def put_late(self, entry: Entry) -> bool:
        """`put` of what was fetched a while ago. False as well where the domain was purged since."""

    async def note(self, domain: Domain, fetched_at: int, failure: Failure | None, refresh_at: int) -> bool:
        """Note the failure and the next refresh of a policy, where that very fetch of it is still kept.

        False where it is not: the domain was purged, or another process has fetched since.
        """

    async def touch(self, domains: Sequence[Domain], now: int) -> None:
        """Note that they are used: what is used is not evicted first."""

    async def due(self, now: int, limit: int) -> list[Domain]:
        """Live policies whose refresh is due, the longest overdue first. One that is more than a day ahead is due now:
        it was noted while the clock was ahead.
        """

    async def remove(self, domain: Domain) -> bool:
        """Forget it, history and all; whether there was something."""

    async def listing(self) -> list[Entry]:
        """By name, without those that are damaged."""

    async def damaged(self) -> list[Domain]:
        """Those that `listing` leaves out."""

    async def history(self, domain: Domain) -> list[Version]:
        """Newest first."""

    def last_use(self) -> int | None:
        """The latest moment at which one was learned or used, seconds since 1970; None while there are none."""

    async def note_dane(self, nexthop: str, now: int, forget_before: int) -> None:
        """Keep that DANE was full for it; returns when that is durable. Those noted before `forget_before` go."""

    async def dane_full_at(self, nexthop: str) -> int | None:
        """When it was noted last."""

    async def last_dane_at(self) -> int | None:
        """When it was noted last for any."""

    async def close(self) -> None: ...
