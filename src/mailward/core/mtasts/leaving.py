"""Leaving MTA-STS without locking mail out (RFC 8461 section 8.3): when each step is due.

A sender that fetched a policy keeps it for its max_age. So `none` is served and announced first, then every policy
that was ever served must have ended in every sender's memory, and only then do record and host go: a host that is away
while a sender still enforces would be an attack to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

NONE_MAX_AGE_SECONDS = 86_400
"""RFC 8461 §8.3: "a small max_age (e.g., one day)" """


@dataclass(frozen=True, slots=True)
class Served:
    """A policy that senders may have kept."""

    max_age_seconds: int
    replaced_at: datetime | None
    """When every policy host was seen to serve a later version, so that none serves this one any more: a host may lag
    for days. None: not before `none`.
    """


class Stage(StrEnum):
    SERVE = "serve"
    """`none` is on its way to the policy hosts."""
    WAIT = "wait"
    """Until the last sender has forgotten the last policy."""
    REMOVE = "remove"
    """The records may go."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Plan:
    stage: Stage
    wait_until: datetime | None
    """When nobody holds an older policy any more; None: not known before every host serves `none`."""


def plan(
    earlier: Sequence[Served], served_at: datetime | None, now: datetime, *, are_gone: bool = False
) -> Plan:
    """`earlier`: all policies before `none`, the oldest first. `served_at`: when all hosts were seen to serve `none`.
    `are_gone`: whether record and host were seen to be gone at every authoritative server.
    """
    if served_at is None:
        return Plan(Stage.SERVE, None)
    until = served_at + timedelta(seconds=NONE_MAX_AGE_SECONDS)
    for each in earlier:
        # §8.3 step 3: older ones may have had a greater max_age than the last
        last_served = min(each.replaced_at or served_at, served_at)
        until = max(until, last_served + timedelta(seconds=each.max_age_seconds))
    if now < until:
        return Plan(Stage.WAIT, until)
    return Plan(Stage.DONE if are_gone else Stage.REMOVE, until)
