"""Our own look at MX hosts that mail went to, where Postfix does not look: cached, one at a time, and not too many."""

import asyncio
import logging
import socket
from pathlib import Path

from mailward.config import Settings
from mailward.net import clock
from mailward.net.guard import make_guard
from mailward.net.smtpprobe import Seen, make_context, probe
from mailward.sender.memory import Generations

logger = logging.getLogger("mailward.sender")

GOOD_SECONDS = 6 * 3600.0
BAD_SECONDS = 1800.0  # of what its owner may be mending, and of hosts that were not met
MAX_KEPT = 20_000
AT_ONCE = 8
INTERVAL_SECONDS = 0.5  # between the beginnings of two looks, whatever the hosts
_PORT = 25

_Host = tuple[str, str]
"""Name and address."""


class Verifier:
    def __init__(self, settings: Settings, *, port: int = _PORT) -> None:
        """Raises AuthoritiesUnreadable."""
        file = settings.sender.ca_file
        self._context = make_context(Path(file) if file else None)
        self._guard = make_guard(settings.dns)
        self._ehlo_name = settings.tlsrpt.ehlo_name or _own_name()
        self._port = port
        self._kept: Generations[_Host, tuple[float, Seen]] = Generations(MAX_KEPT)
        self._addresses: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._next_at = 0.0
        self.looks = 0

    async def look(self, host: str, address: str) -> Seen:
        """What is known of it, which may be some hours old."""
        if (kept := self._fresh(host, address)) is not None:
            return kept
        lock = self._addresses.setdefault(address, asyncio.Lock())
        try:
            async with lock, self._slots:  # one connection at a time to an address, whatever its names
                return self._fresh(host, address) or await self._look(host, address)
        finally:
            if not lock.locked():
                self._addresses.pop(address, None)

    async def _look(self, host: str, address: str) -> Seen:
        begin = max(self._next_at, clock.monotonic())
        self._next_at = begin + INTERVAL_SECONDS
        await asyncio.sleep(begin - clock.monotonic())
        self.looks += 1
        seen = await probe(host, address, self._context, self._ehlo_name, guard=self._guard, port=self._port)
        seconds = GOOD_SECONDS if seen == Seen(True) else BAD_SECONDS
        self._kept.put((host, address), (clock.monotonic() + seconds, seen))
        facts = {"host": host, "address": address, "result": seen.result or "good", "reason": seen.reason}
        logger.info("mx-looked-at" if seen.was_seen else "mx-not-met", extra=facts)
        return seen

    def _fresh(self, host: str, address: str) -> Seen | None:
        kept = self._kept.get((host, address))
        return kept[1] if kept is not None and kept[0] > clock.monotonic() else None


def _own_name() -> str:
    # RFC 5321 §4.1.4: an address literal where we have no name. getfqdn() may wait for DNS
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
