"""PostgreSQL says at once that something changed of what nodes serve (LISTEN and NOTIFY); SQLite is asked often.

A notice says nothing but "look": who follows the database asks it then, and from time to time all the same, so that one
that is lost costs two seconds.
"""

import asyncio
import logging

import psycopg
from django.db import connection

from mailward.store.postgresql import server_params
from mailward.store.services.hosting import CHANNEL

_log = logging.getLogger("mailward.hosting")

POLL_SECONDS = 0.2
LISTENING_POLL_SECONDS = 2.0
_PROBE_SECONDS = 10.0
"""A server that is gone without a word is noticed after so long."""
_ANSWER_SECONDS = 5.0
_AGAIN_SECONDS = 1.0


class Notices:
    """One for each process. `listen` runs beside those who `follow`."""

    def __init__(self) -> None:
        self._events: list[asyncio.Event] = []
        self.poll_seconds = POLL_SECONDS

    def subscribe(self) -> asyncio.Event:
        """Set with each notice; who waits clears it before looking."""
        event = asyncio.Event()
        self._events.append(event)
        return event

    async def wait(self, event: asyncio.Event) -> None:
        """Until a notice comes, or it is time to look anyway."""
        try:
            async with asyncio.timeout(self.poll_seconds):
                await event.wait()
        except TimeoutError:
            pass

    async def listen(self) -> None:
        """Until cancelled; connects again whenever the connection breaks."""
        # libpq connects here in its own time, which would be as root: a local server that knows another is asked often
        while connection.vendor == "postgresql" and connection.settings_dict["PEER"] is None:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self.poll_seconds != POLL_SECONDS:
                    _log.warning("notices-lost", extra={"reason": " ".join(str(error).split())})
                    self.poll_seconds = POLL_SECONDS
                    self._tell()  # who waits has the slower pace
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        wanted = server_params()
        async with await psycopg.AsyncConnection.connect(**wanted, autocommit=True) as listening:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await listening.execute(f"LISTEN {CHANNEL}".encode())
            self.poll_seconds = LISTENING_POLL_SECONDS
            self._tell()  # of what was said before
            while True:
                async for _ in listening.notifies(timeout=_PROBE_SECONDS):
                    self._tell()
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await listening.execute(b"SELECT 1")

    def _tell(self) -> None:
        for event in self._events:
            event.set()
