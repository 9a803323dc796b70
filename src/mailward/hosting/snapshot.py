"""The policies in memory, kept in step with the database and able to live without it."""

import asyncio
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from django.db import Error as DatabaseError
from django.db import connection

from mailward.net import clock
from mailward.store.queries.hosting import Hosted, hosted_policies, hosting_generation

_log = logging.getLogger("mailward.hosting")

POLL_SECONDS = 0.2
FULL_RELOAD_SECONDS = 30.0
"""Also without a new generation, and over a fresh connection: a restored database is seen."""
PREFIX = "mta-sts."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served. Replaced as a whole, never changed."""

    generation: int = 0
    policies: Mapping[str, bytes] = field(default_factory=dict)
    """Policy host name (`mta-sts.<domain>`) -> body."""


class _Saved(msgspec.Struct, frozen=True):
    generation: int
    policies: dict[str, str]


def make_snapshot(hosted: Hosted) -> Snapshot:
    return Snapshot(
        hosted.generation, {PREFIX + name: text.encode() for name, text in hosted.policies.items()}
    )


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Whole or not at all. Raises OSError."""
    policies = {host: body.decode() for host, body in snapshot.policies.items()}
    content = msgspec.json.encode(_Saved(snapshot.generation, policies))
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_saved(path: Path) -> Snapshot:
    """The snapshot that was saved last; an empty one where there is none or it cannot be read."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
    except FileNotFoundError:
        return Snapshot()
    except (OSError, msgspec.DecodeError) as error:
        _log.error("saved-snapshot-unreadable", extra={"file": path, "reason": error})
        return Snapshot()
    return Snapshot(saved.generation, {host: text.encode() for host, text in saved.policies.items()})


class SnapshotKeeper:
    """Holds the current snapshot. `follow` replaces it whenever the database has a newer one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.current = load_saved(path)
        self._loaded_at = float("-inf")
        self._database_ok = True
        # one thread: Django keeps a connection for each
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")

    async def follow(self) -> None:
        """Poll the database until cancelled. Its errors are logged once; what is held is served on."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(POLL_SECONDS)
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
            if self._database_ok:
                _log.error(
                    "database-unavailable",
                    extra={"reason": error, "still-serving": len(self.current.policies)},
                )
            self._database_ok = False
            return
        if not self._database_ok:
            _log.info("database-back")
            self._database_ok = True
        if fresh is not None:
            self.current = fresh

    def _read(self) -> Snapshot | None:
        """A snapshot, if it may differ from the current one. Runs in the thread."""
        try:
            due = clock.monotonic() - self._loaded_at >= FULL_RELOAD_SECONDS
            if due:
                connection.close()
            elif hosting_generation() == self.current.generation:
                return None
            return self._load()
        except DatabaseError:
            connection.close()  # the next try starts afresh
            raise

    def _load(self) -> Snapshot:
        started = clock.monotonic()
        fresh = make_snapshot(hosted_policies())
        self._loaded_at = clock.monotonic()
        if fresh != self.current:
            milliseconds = round((self._loaded_at - started) * 1000, 1)
            _log.info(
                "snapshot-loaded",
                extra={"generation": fresh.generation, "policies": len(fresh.policies), "ms": milliseconds},
            )
            try:
                save_snapshot(fresh, self._path)
            except OSError as error:
                _log.error("snapshot-not-saved", extra={"file": self._path, "reason": error.strerror})
        return fresh
