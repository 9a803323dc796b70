"""Records that were right once and are not any more: what a customer published, and took away or let go stale.

Seen twice, some minutes apart, before anybody is told. What was never right is a set-up that is not finished,
which is no news; what could not be asked proves nothing. An id that is published by hand has a day to follow a change
of ours.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from mailward.core.watch.standing import ENOUGH, Step

ID_FOLLOWS = timedelta(days=1)
IN_FRONT = "another server is in front, and serves this policy"
"""What is said of a policy host that is right and leads elsewhere."""
ELSEWHERE = "it leads to another server"
"""How it begins what is said of one that does not, or not now."""
_RIGHT, _UNKNOWN = "right", "unknown"


@dataclass(frozen=True, slots=True)
class Upkeep:
    was_right: bool = False
    missed: int = 0
    """Looks in a row that found it not right, counted up to ENOUGH."""
    is_told: bool = False

    @property
    def is_pending(self) -> bool:
        return 0 < self.missed < ENOUGH


def advance(upkeep: Upkeep, state: str, *, is_settling: bool = False) -> tuple[Upkeep, Step]:
    """After one more look. `state`: of monitor.expected.State. `is_settling`: we have just changed what it
    should say.
    """
    if state == _UNKNOWN:
        return upkeep, Step.NONE
    if state == _RIGHT:
        return Upkeep(was_right=True), Step.CLOSE if upkeep.is_told else Step.NONE
    if not upkeep.was_right or upkeep.is_told or is_settling:
        return upkeep, Step.NONE
    missed = min(upkeep.missed + 1, ENOUGH)
    if missed < ENOUGH:
        return replace(upkeep, missed=missed), Step.NONE
    return replace(upkeep, missed=missed, is_told=True), Step.OPEN
