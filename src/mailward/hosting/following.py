"""Something in memory that is kept in step with the database, and able to live without it."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec
from django.db import Error as DatabaseError
from django.db import connection

from mailward.hosting.notices import Notices
from mailward.net import clock
from mailward.store.queries.hosting import hosting_generation

_log = logging.getLogger("mailward.hosting")

FULL_RELOAD_SECONDS = 30.0
"""Also without a new generation, and over a fresh connection: a restored database is seen."""
FIRST_LOOK_SECONDS = 10.0
"""Where nothing was saved, nobody is answered for so long while the database says nothing."""
SAVED_LOOK_SECONDS = 2.0
"""The same, where something was."""


class Generated(Protocol):
    @property
    def generation(self) -> int: ...


Held = TypeVar("Held", bound=Generated)
Saved = TypeVar("Saved", bound=msgspec.Struct)


class Keeper(ABC, Generic[Held]):
    """Holds what was read last. `follow` replaces it whenever the database has a newer one; it is replaced as a
    whole, never changed.
    """

    def __init__(self, path: Path) -> None:
        """`path`: where the last one is saved."""
        self._path = path
        self.current: Held = self.load_saved(path)
        self._loaded_at = float("-inf")
        self._seen = self.current.generation
        self._first: asyncio.Task[None] | None = None
        self.database_ok = True
        """Whether it answered the last time."""
        self.checked_at = 0.0
        """When it was last seen that `current` is what the database has, in seconds since 1970; 0: not yet."""
        self.refreshes: Counter[str] = Counter()
        """By outcome: `same`, `replaced`, `failed`."""
        # one thread: Django keeps a connection for each
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")

    @abstractmethod
    def load_saved(self, path: Path) -> Held:
        """An empty one where there is none or it cannot be read."""

    @abstractmethod
    def read(self) -> Held:
        """What the database has. Runs in the thread."""

    @abstractmethod
    def save(self, held: Held, path: Path) -> None:
        """Whole or not at all. Raises OSError."""

    @abstractmethod
    def count(self, held: Held) -> int:
        """How much it is, for the log."""

    def replaced(self) -> None:
        """Called on the loop after `current` became another one."""

    async def look_first(self) -> None:
        """Before anybody is served: ask the database. A new or restored node would else say that names are unknown, and
        resolvers keep that; one that was away would serve a policy of before, whose successor's id is told. A database
        that is away is not waited for.
        """
        self._first = asyncio.create_task(self.refresh())
        seconds = SAVED_LOOK_SECONDS if self._path.exists() else FIRST_LOOK_SECONDS
        await asyncio.wait([self._first], timeout=seconds)

    async def follow(self, notices: Notices | None = None) -> None:
        """Ask the database until cancelled. Its errors are logged once; what is held is served on."""
        notices = notices or Notices()
        woken = notices.subscribe()
        try:
            if self._first is not None:
                await self._first
            while True:
                woken.clear()
                await self.refresh()
                await notices.wait(woken)
        finally:
            self.close()

    def close(self) -> None:
        self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)

    async def refresh(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            fresh = await loop.run_in_executor(self._thread, self._read)
        except DatabaseError as error:
            if self.database_ok:
                _log.error(
                    "database-unavailable",
                    extra={"reason": error, "still-serving": self.count(self.current)},
                )
            self.database_ok = False
            self.refreshes["failed"] += 1
            return
        if not self.database_ok:
            _log.info("database-back")
            self.database_ok = True
        self.checked_at = clock.now().timestamp()
        self.refreshes["same" if fresh is None else "replaced"] += 1
        if fresh is not None:
            self.current = fresh
            self.replaced()

    def _read(self) -> Held | None:
        """One, if it differs from the current one. Runs in the thread, where comparing stalls nobody."""
        try:
            due = clock.monotonic() - self._loaded_at >= FULL_RELOAD_SECONDS
            if due:
                connection.close()
            elif hosting_generation() == self._seen:
                return None
            return self._load()
        except DatabaseError:
            connection.close()  # the next try starts afresh
            raise

    def _load(self) -> Held | None:
        started = clock.monotonic()
        generation = hosting_generation()  # before: a change meanwhile is then loaded again
        fresh = self.read()
        self._seen = generation
        self._loaded_at = clock.monotonic()
        if fresh == self.current:
            return None
        milliseconds = round((self._loaded_at - started) * 1000, 1)
        _log.info(
            "snapshot-loaded",
            extra={"generation": fresh.generation, "count": self.count(fresh), "ms": milliseconds},
        )
        self.keep(fresh)
        return fresh

    def keep(self, held: Held) -> None:
        """Save it. What cannot be saved, as on a full disk, is served all the same."""
        try:
            self.save(held, self._path)
        except OSError as error:
            _log.error("snapshot-not-saved", extra={"file": self._path, "reason": error.strerror})


def read_saved(path: Path, kind: type[Saved]) -> Saved | None:
    """What `write_whole` wrote as JSON; None where there is none or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.error("saved-snapshot-unreadable", extra={"file": path, "reason": error})
        return None
