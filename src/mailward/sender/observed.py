"""What a mail log shows of each destination, summed up line by line in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

from mailward.core.names import Domain
from mailward.core.postfix.maillog import Delivery, Relay, TlsSummary, Trust, read_day, read_line

MAX_DOMAINS = 100_000  # destinations told apart; mail to others is only counted
MAX_RELAYS = 16  # hosts of one domain
MAX_HOSTS = 100_000
RELAYHOST_DOMAINS = 5


@dataclass(slots=True)
class Destination:
    messages: int = 0
    sent: int = 0
    waited: int = 0
    """Log lines of attempts that were deferred, with what followed them."""
    relays: Counter[Relay] = field(default_factory=Counter)
    """Those that took mail."""
    reason: str = ""
    """Of the last attempt that was deferred."""


class Observed:
    def __init__(self) -> None:
        self.destinations: dict[Domain, Destination] = {}
        self.trusts: dict[Relay, Counter[Trust]] = {}
        """How connections to a host were called: whether its certificate is good does not depend on the domain."""
        self.lines = self.deliveries = self.left_out = 0
        self._first = self._last = ""

    @property
    def shows_tls(self) -> bool:
        """Whether the log has lines about TLS at all (smtp_tls_loglevel at least 1)."""
        return bool(self.trusts)

    @property
    def shows_trust(self) -> bool:
        """Whether any certificate was found good: otherwise Postfix had no authorities to check with."""
        return any(counts[Trust.TRUSTED] + counts[Trust.VERIFIED] for counts in self.trusts.values())

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day, as the log writes them."""
        return read_day(self._first), read_day(self._last)

    def likely_relayhost(self) -> str:
        """The host that took nearly all mail, whatever its domain; empty: there is none."""
        taken: Counter[str] = Counter()
        domains: Counter[str] = Counter()
        for found in self.destinations.values():
            for relay, count in found.relays.items():
                taken[relay.name] += count
            domains.update({relay.name for relay in found.relays})
        for name, count in taken.most_common(1):
            if domains[name] >= RELAYHOST_DOMAINS and count * 10 >= taken.total() * 9:
                return name
        return ""

    def add(self, line: str) -> None:
        self.lines += 1
        event = read_line(line)
        if event is None:
            return
        self._first = self._first or line
        self._last = line
        if isinstance(event, TlsSummary):
            self._add_tls(event)
        else:
            self._add_delivery(event)

    def _add_tls(self, event: TlsSummary) -> None:
        counts = self.trusts.get(event.relay)
        if counts is None:
            if len(self.trusts) >= MAX_HOSTS:
                return
            counts = self.trusts[event.relay] = Counter()
        counts[event.trust] += 1

    def _add_delivery(self, event: Delivery) -> None:
        self.deliveries += 1
        found = self.destinations.get(event.domain)
        if found is None:
            if len(self.destinations) >= MAX_DOMAINS:
                self.left_out += 1
                return
            found = self.destinations[event.domain] = Destination()
        found.messages += 1
        if event.status == "sent":
            found.sent += 1
            if event.relay is not None and (event.relay in found.relays or len(found.relays) < MAX_RELAYS):
                found.relays[event.relay] += 1
        elif event.status == "deferred":
            found.waited += 1
            found.reason = event.text[:200]
