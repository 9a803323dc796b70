"""Counters of the daemon: plain integers, so that the hot path can afford them. A page of numbers is made elsewhere."""

from collections import Counter
from dataclasses import dataclass, field

from mailward.core.sending.facts import Row


@dataclass(slots=True)
class Metrics:
    connections: int = 0
    """Open now."""
    connections_total: int = 0
    malformed_total: int = 0
    """Connections closed because they spoke no socketmap."""
    answers: Counter[Row] = field(default_factory=Counter)
    """By row of the decision table, those from the memo too."""
    memo_misses: int = 0
    late_answers: int = 0
    """Given at the deadline, before all was known."""
    record_lookups: int = 0
    record_failures: int = 0
    fetches: int = 0
    fetch_failures: Counter[str] = field(default_factory=Counter)
    """By the code of the FetchError."""
    policy_changes: int = 0
    cache_errors: int = 0
    dane_lookups: int = 0
    decision_changes: int = 0
