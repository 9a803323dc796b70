"""What happens without being asked: records looked at again within minutes, policies fetched anew every day."""

import asyncio
import logging
import zlib

from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.cache import CacheError
from mailward.sender.knowledge import Knowledge

logger = logging.getLogger("mailward.sender")

TICK_SECONDS = 1.0
MAX_AT_ONCE = 16  # refreshes side by side: they must not compete with what Postfix waits for
MAX_PER_TICK = 64
TOUCH_TICK_SECONDS = 60.0
WRITE_AGAIN_SECONDS = 5.0  # between two attempts to write what a full disk did not take


class Refresher:
    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._touch_at = clock.monotonic() + TOUCH_TICK_SECONDS
        self.share = (0, 1)
        """Which of how many processes on the cache this is: each fetches its part of what is due."""
        self._write_at = clock.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.tick()
            except CacheError as error:
                logger.error("cache-unreadable", extra={"reason": str(error)})
            except (
                Exception
            ):  # a mistake of ours must not end the daemon, which answers without refreshes too
                logger.exception("refresh-crashed")
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Everything that is due now, up to a bound. Raises CacheError."""
        number, count = self.share
        due = await self._knowledge.cache.due(self._knowledge.now(), MAX_PER_TICK * count)
        domains = dict.fromkeys(domain for domain in due if zlib.crc32(domain.encode()) % count == number)
        domains |= dict.fromkeys(self._knowledge.due_for_recheck(MAX_PER_TICK))
        async with asyncio.TaskGroup() as group:
            for domain in domains:
                group.create_task(self._refresh(domain))
        if clock.monotonic() >= self._write_at:
            self._write_at = clock.monotonic() + WRITE_AGAIN_SECONDS
            await self._write_again()
        if clock.monotonic() >= self._touch_at:
            self._touch_at = clock.monotonic() + TOUCH_TICK_SECONDS
            await self._knowledge.touch()

    async def _write_again(self) -> None:
        try:
            await self._knowledge.write_again()
        except CacheError as error:
            logger.error("cache-not-written", extra={"domain": "-", "reason": str(error)})

    async def _refresh(self, domain: Domain) -> None:
        async with self._slots:
            try:
                await self._knowledge.refresh(domain)
            except Exception:  # a mistake of ours about one domain must not end the refreshes of all others
                logger.exception("refresh-crashed", extra={"domain": domain})
