"""Response rate limiting: a forged source must not get more from us than it is worth.

As BIND's and NSD's: replies about one topic to one network are counted; beyond the rate every other one is
shortened to "ask by TCP", which a real resolver does and a victim of forged packets cannot, and the rest is
dropped. Besides, no single address gets more than a share of the whole.
"""

from enum import Enum


class Verdict(Enum):
    SEND = "send"
    TRUNCATE = "truncate"
    DROP = "drop"


_SEND = Verdict.SEND  # an Enum's class takes ten times as long to look into as a global


class RateLimiter:
    """Counts per second of the clock that the caller has. Bounded in memory by `max_entries` a second."""

    def __init__(
        self, *, per_topic: int, per_address: int, slip: int = 2, max_entries: int = 200_000
    ) -> None:
        """`per_topic`: replies a second about one topic to a /24 or /56; 0: no limit. `per_address`:
        replies a second to one address, whatever they are about; 0: no limit.
        """
        self._per_topic = per_topic
        self._per_address = per_address
        self._slip = slip
        self._max_entries = max_entries
        self._second = 0
        self._topics: dict[tuple[str, bytes], int] = {}
        self._addresses: dict[str, int] = {}
        self.refused = 0
        """Answers that were not made, for the address."""
        self.dropped = self.truncated = 0
        """Those that were, and were too many about their topic."""

    def admits(self, address: str, second: int) -> bool:
        """Whether the address may have another answer; asked before one is made, so that a flood costs little."""
        if second != self._second:
            self._second = second
            self._topics.clear()
            self._addresses.clear()
        if not self._per_address:
            return True
        count = self._addresses.get(address, 0) + 1
        if count > self._per_address:
            self.refused += 1
            return False
        if count > 1 or len(self._addresses) < self._max_entries:
            self._addresses[address] = count
        return True

    def judge(self, address: str, topic: bytes) -> Verdict:
        """What becomes of a reply to an address that was admitted."""
        if not self._per_topic:
            return _SEND
        key = network_of(address), topic
        count = self._topics.get(key, 0) + 1
        if count > 1 or len(self._topics) < self._max_entries:
            self._topics[key] = count
        if count <= self._per_topic:
            return _SEND
        if (count - self._per_topic) % self._slip:
            self.dropped += 1
            return Verdict.DROP
        self.truncated += 1
        return Verdict.TRUNCATE

    @property
    def limited(self) -> int:
        return self.refused + self.dropped + self.truncated


def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the first 56 bits of an IPv6 one, as a text that is equal for equal networks."""
    if ":" not in address:
        return address.rpartition(".")[0]
    head, _, tail = address.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    if len(groups) < 4:  # the gap is among the first four groups, or right behind them
        behind = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(behind)) + behind
    return ":".join((*groups[:3], groups[3].rjust(4, "0")[:2]))
