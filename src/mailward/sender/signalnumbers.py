"""Numbers of the collector that the policy server's /metrics shows: in memory that the parent shares with its children,
so that they outlive each of them.
"""

import mmap
import struct
from collections.abc import Mapping
from enum import StrEnum

_FORMAT = struct.Struct("q")


class Number(StrEnum):
    """Written by the collector alone, except where something else is said. Those without `_total` go up and down."""

    RECEIVED = "signals_received_total"
    SESSIONS = "signal_sessions_total"
    DROPPED = "signals_dropped_total"
    REFUSED = "signal_sessions_refused_total"
    DAMAGED = "signals_unreadable_total/damaged"
    VERSION = "signals_unreadable_total/version"
    DOMAIN = "signals_unreadable_total/domain"
    POLICY_TYPE = "signals_unreadable_total/policy-type"
    TOO_LARGE = "signals_unreadable_total/too-large"
    QUEUE_FULL = "signal_queue_full_total"
    QUEUE_LENGTH = "signal_queue_length"
    NOT_SENT = "signals_not_sent_total"
    """Postfix's own complaints about datagrams that it could not send; written by who reads its log."""
    COMMITS = "signal_commits_total"
    COMMIT_ERRORS = "signal_commit_errors_total"
    UNCOMMITTED = "signals_uncommitted"
    STARTS = "signal_collector_starts_total"
    """Written by the parent."""
    # these by the reporter
    REPORTS_MADE = "reports_made_total"
    REPORTS_DELIVERED = "reports_delivered_total"
    REPORTS_POSTPONED = "reports_postponed_total"
    REPORTS_FAILED = "reports_failed_total"
    REPORTS_WAITING = "reports_waiting"
    RUAS_SUPPRESSED = "report_ruas_suppressed"


UNREADABLE = {
    "damaged": Number.DAMAGED,
    "version": Number.VERSION,
    "domain": Number.DOMAIN,
    "policy-type": Number.POLICY_TYPE,
    "too-large": Number.TOO_LARGE,
}
_PLACES = {number: place * _FORMAT.size for place, number in enumerate(Number)}


class SignalNumbers:
    """Made before the children are: each then sees what the others write. Each number has one writer at a time."""

    def __init__(self) -> None:
        self._room = mmap.mmap(-1, len(_PLACES) * _FORMAT.size)

    def add(self, number: Number, count: int) -> None:
        if count:
            self.set(number, self.get(number) + count)

    def set(self, number: Number, value: int) -> None:
        _FORMAT.pack_into(self._room, _PLACES[number], value)

    def get(self, number: Number) -> int:
        found: int = _FORMAT.unpack_from(self._room, _PLACES[number])[0]
        return found

    def all(self) -> Mapping[Number, int]:
        return {number: self.get(number) for number in Number}
