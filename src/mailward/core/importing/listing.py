"""What a list of domains says, whatever its form."""

from dataclasses import dataclass

from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain


class Unreadable(ValueError):
    """The whole of it cannot be read; the text says why."""

    code = "listing-unreadable"


@dataclass(frozen=True, slots=True)
class Wish:
    """One domain that somebody wants on the platform."""

    name: Domain
    where: str
    """Such as `line 7`."""
    mx: tuple[str, ...] = ()
    """Its MX hosts or patterns as listed; empty: those in DNS."""
    policy: Policy | None = None
    """What is wanted to be served; None: a testing policy with its MX hosts."""
    automatic_days: int | None = None
    """Enforced by itself after so many days of readiness; 0: not; None: the list says nothing of it."""


@dataclass(frozen=True, slots=True)
class Refused:
    where: str
    text: str
    """What stands there; a stranger's text."""
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    wishes: tuple[Wish, ...] = ()
    """Each domain once, the first place of it."""
    refused: tuple[Refused, ...] = ()
    """What could not be read, the first MAX_REFUSED."""
    more_refused: int = 0


MAX_REFUSED = 1_000
