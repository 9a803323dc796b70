"""A node whose clock is wrong takes no work: it would take what another is at, or never give back what it took."""

import logging
from datetime import timedelta

from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.services.turns import MAX_SKEW, seconds_ahead

_log = logging.getLogger(__name__)
_AGAIN_SECONDS = 60.0
PAUSE_SECONDS = 15.0
"""Before a node that is wrong asks again."""


class ClockCheck:
    """Shared by all loops of a worker; asks the database once a minute."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._agrees = True

    async def agrees(self) -> bool:
        """Raises django.db.Error where the database cannot say."""
        pause = _AGAIN_SECONDS if self._agrees else PAUSE_SECONDS
        if clock.monotonic() - self._asked_at >= pause:
            ahead = await in_store(seconds_ahead)
            self._asked_at = clock.monotonic()
            agrees = abs(timedelta(seconds=ahead)) <= MAX_SKEW
            if not agrees:
                _log.error("clock-differs", extra={"ahead-of-database": f"{ahead:.1f}s", "work": "not taken"})
            elif not self._agrees:
                _log.info("clock-agrees")
            self._agrees = agrees
        return self._agrees
