"""How a domain's certificate stands."""

from enum import StrEnum


class CareState(StrEnum):
    CLAIM = "claim"
    """Nothing proves yet that the domain is the organisation's: nothing is ordered."""
    REACH = "reach"
    """The name does not lead to us (yet): nothing is ordered."""
    QUEUED = "queued"
    """Every CA has had as many orders as it takes for now."""
    AWAY = "away"
    """No CA can be asked: each is down, or has had enough of us and said so."""
    ORDERED = "ordered"
    """An order is under way."""
    GOOD = "good"
    """There is a certificate, and nothing to do until it is renewed."""
    FAILING = "failing"
    """The last order failed; it is tried again."""
    FORBIDDEN = "forbidden"
    """The domain's CAA records let none of our CAs issue."""
    GONE = "gone"
    """The name led to us and does so no more: what there is runs out."""

    @classmethod
    def _missing_(cls, value: object) -> "CareState":
        # what only a later release knows, whose node works beside us: the domain is looked after all the same
        return cls.QUEUED


NEEDS_PEOPLE = frozenset({CareState.AWAY, CareState.FAILING, CareState.FORBIDDEN, CareState.GONE})
"""Told as a problem from the first time on."""
