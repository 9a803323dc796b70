"""Which kinds of work are due, asked for once for all loops: dozens that asked for themselves kept a processor busy
with nothing to do.
"""

import asyncio
from collections.abc import Iterable

from mailward.store.aio import in_store
from mailward.store.services import outbox

LOOK_SECONDS = 0.5
"""Between two looks at the queue."""


class Arrivals:
    """Shared by all loops of a worker; one of its tasks looks, again and again."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._come = {kind: asyncio.Event() for kind in kinds}

    async def look(self) -> None:
        """Raises django.db.Error where the database cannot say."""
        for kind in await in_store(outbox.due_kinds, tuple(self._come)):
            self._come[kind].set()

    async def wait(self, kind: str) -> None:
        """Until work of this kind was seen to be due."""
        await self._come[kind].wait()

    def is_done(self, kind: str) -> None:
        """There is no more of it for now."""
        self._come[kind].clear()

    def let_all_go(self) -> None:
        """Whoever waits need not any more."""
        for event in self._come.values():
            event.set()
