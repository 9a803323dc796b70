"""Whether our clock is wrong, by what others say and by what the kernel says of itself.

A clock that is off makes certificates look expired or not yet valid, orders ids of policies wrongly, and lets a CA
refuse us. One host that is off itself, or lies, proves nothing: most of those asked must agree that we are.
"""

from collections.abc import Sequence

TOLERANCE_SECONDS = 60
"""A Date header is a second coarse, and a slow answer some seconds old."""
MIN_HOSTS = 2


def judge_clock(offsets: Sequence[float], *, is_synchronised: bool) -> tuple[bool, str]:
    """Whether our clock may be believed, and what to say. `offsets`: seconds that each host is ahead of us."""
    off = [each for each in offsets if abs(each) > TOLERANCE_SECONDS]
    if len(offsets) >= MIN_HOSTS and len(off) * 2 > len(offsets):
        middle = sorted(off)[len(off) // 2]
        way = "behind" if middle > 0 else "ahead"
        who = f"{len(off)} of {len(offsets)} hosts"
        return False, f"The clock of this machine is {abs(middle):,.0f} seconds {way}, by {who}."
    if not is_synchronised:
        return True, "The kernel says that its clock is not kept in step (NTP)."
    return True, ""
