"""The nodes of `policy_host.nodes`, knocked at more often than everything is looked at: ids wait for each of them,
and a CA that asks a dead one gives no certificate.
"""

import asyncio

from mailward.config import Settings
from mailward.core.places import Place
from mailward.net import clock

EVERY_SECONDS = 60.0
_CONNECT_SECONDS = 5.0


class Nodes:
    def __init__(self, settings: Settings) -> None:
        self._places = settings.policy_nodes if settings.policy_host.nodes else ()
        self._away: frozenset[Place] = frozenset()
        self._knocked_at = clock.monotonic()
        self.has_returned = False
        """Whether one is there again, as of the last change."""

    async def have_changed(self) -> bool:
        """Whether one has gone, or is there again, since it was asked last. Knocks once in EVERY_SECONDS."""
        if not self._places or clock.monotonic() < self._knocked_at + EVERY_SECONDS:
            return False
        self._knocked_at = clock.monotonic()
        answers = await asyncio.gather(*(_answers(place) for place in self._places))
        before = self._away
        self._away = frozenset(
            place for place, is_there in zip(self._places, answers, strict=True) if not is_there
        )
        self.has_returned = bool(before - self._away)
        return self._away != before


async def _answers(place: Place) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(*place)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
