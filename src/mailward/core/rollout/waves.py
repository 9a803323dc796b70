"""One change for thousands of domains: in which wave each comes, and when the next wave must not.

The first two waves are samples, drawn by a hash, so that neighbours in the alphabet (one customer's domains, on one MX
host) do not all come first or last.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SHARES = (0.01, 0.10, 1.0)
"""How much of the domains has the change after each wave."""
MIN_REFUSED = 10
MIN_PERCENT = 1.0


class StopCode(StrEnum):
    PROBLEMS = "problems-opened"
    REPORTS = "sessions-refused"


@dataclass(frozen=True, slots=True)
class WaveSigns:
    """What was seen since the change began, of the domains that have it."""

    problems: tuple[str, ...] = ()
    """Causes that opened or gained one of them, in words."""
    sessions: int = 0
    """Under the policy, by counted reports about days since then."""
    refused: int = 0
    """Those of them that enforce refuses, or would."""


@dataclass(frozen=True, slots=True)
class Stop:
    code: StopCode
    text: str


def deal_waves(change_id: int, domain_ids: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    """The domains of each wave. Every wave has at least one as long as there are domains left."""
    drawn = sorted(domain_ids, key=lambda each: hashlib.sha256(f"{change_id}:{each}".encode()).digest())
    waves, done = [], 0
    for share in SHARES:
        # rounded up: 1 % of 50 domains is one
        until = max(-int(-len(drawn) * share // 1), min(done + 1, len(drawn)))
        waves.append(tuple(drawn[done:until]))
        done = until
    return tuple(waves)


def find_stop(signs: WaveSigns) -> Stop | None:
    """Why no further domain gets the change; None: nothing speaks against it."""
    if signs.problems:
        more = len(signs.problems) - 3
        listed = "; ".join(signs.problems[:3]) + (f"; and {more} more" if more > 0 else "")
        return Stop(StopCode.PROBLEMS, f"Problems opened where the change is: {listed}.")
    if signs.refused >= MIN_REFUSED and signs.refused * 100 >= signs.sessions * MIN_PERCENT:
        return Stop(
            StopCode.REPORTS,
            f"Reports tell of {signs.refused:,} refused sessions of {signs.sessions:,} where the change is.",
        )
    return None
