"""The conditions of readiness, which are the settings of `[rollout]` too: published in docs/rollout.md."""

from typing import Annotated

import msgspec

DEFAULT_HOLD_DAYS = 7
MAX_HOLD_DAYS = 365
"""Of the days for which a domain must have been ready before it is enforced by itself."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
_Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of them hold: a domain in testing mode is said to be ready for enforce."""

    window_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 28
    """The days that the readiness page shows, and whose reporters and sessions count."""
    testing_days: _Count = 14
    """So long in testing mode without a break."""
    recent_days: _Days = 7
    """In the last so many days, refused sessions stand against it."""
    min_reporters: _Positive = 2
    min_sessions: _Positive = 50
    """So many sessions under the policy in the window."""
    max_refused_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.1
    """More of a reporter's sessions that would have been refused stand against it: for each reporter by itself, since
    others' successes make its failures no better."""
    fresh_days: _Days = 3
    """Reports and our own look are at most so old."""
    certificate_days: _Count = 7
    """Certificates of MX hosts and policy host last so long."""
