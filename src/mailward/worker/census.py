"""What the database says of the installation, as families of metrics: taken twice a minute, told at each scrape."""

import asyncio
import logging
from collections.abc import Iterator, Sequence

from django.db import Error as DatabaseError

from mailward.config import Settings
from mailward.core.acme.state import CareState
from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.queries.census import Census, take_census

_log = logging.getLogger(__name__)
CENSUS_SECONDS = 30.0
MODES = ("enforce", "testing", "none", "")


class CensusTaker:
    """`families` may be asked by any thread."""

    def __init__(self, settings: Settings, kinds: Sequence[str]) -> None:
        self._kinds = tuple(kinds)
        self._room = {each.url: each.orders_per_3_hours for each in settings.acme.authorities}
        self._labels = settings.acme.labels
        self._has_relay = bool(settings.relay.host)
        self._latest: Census | None = None
        self._is_up = True

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.take()
            except Exception:  # noqa: BLE001 - the top of a task: for a number the worker must not end
                _log.exception("census-trouble")
            await asyncio.sleep(CENSUS_SECONDS)

    async def take(self) -> None:
        try:
            self._latest = await in_store(take_census, clock.now())
        except DatabaseError as error:
            if self._is_up:
                _log.error("census-not-taken", extra={"reason": error})
            self._is_up = False
            return
        self._is_up = True

    def families(self) -> Iterator[Family]:
        yield catalogue.DATABASE_UP.of({("worker",): self._is_up})
        found = self._latest
        if found is None:
            return
        yield catalogue.CENSUS_TAKEN.one(found.at.timestamp())
        yield from self._queues(found)
        yield from _of_domains(found)
        yield from self._certificates(found)
        yield catalogue.MAILS_WAITING.one(found.mails)
        # what was seen of a relay stays in the database when it goes from the settings
        if self._has_relay and found.relay_ok is not None:
            yield catalogue.RELAY_UP.one(found.relay_ok)
        yield catalogue.QUARANTINED.one(found.quarantined)
        yield catalogue.MIGRATIONS_MISSING.one(found.migrations_missing)
        yield catalogue.DATABASE_BYTES.one(found.database_bytes)

    def _queues(self, found: Census) -> Iterator[Family]:
        zero = {(kind,): 0.0 for kind in self._kinds}
        now, known = found.at, {(each.kind,): each for each in found.queues}
        yield catalogue.QUEUE_ITEMS.of(zero | {key: each.waiting for key, each in known.items()})
        yield catalogue.QUEUE_DUE.of(zero | {key: each.due for key, each in known.items()})
        yield catalogue.QUEUE_FAILING.of(zero | {key: each.failing for key, each in known.items()})
        ages = {key: (now - each.due_since).total_seconds() for key, each in known.items() if each.due_since}
        yield catalogue.QUEUE_AGE.of(zero | ages)

    def _certificates(self, found: Census) -> Iterator[Family]:
        yield catalogue.CERTIFICATES.of(
            {(state.value,): found.certificates[state.value] for state in CareState}
        )
        yield catalogue.CERTIFICATES_ENDING.one(found.ending)
        if found.next_end is not None:
            yield catalogue.CERTIFICATE_END.one(found.next_end.timestamp())
        room = {
            (self._labels[url],): max(0, most - found.ordered.get(url, 0)) for url, most in self._room.items()
        }
        yield catalogue.ORDER_ROOM.of(room)


def _of_domains(found: Census) -> Iterator[Family]:
    yield catalogue.DOMAINS.of({(mode or "unpublished",): found.domains.get(mode, 0) for mode in MODES})
    yield catalogue.UNANNOUNCED.one(found.unannounced)
    yield catalogue.MX_CHANGES.one(found.mx_changes)
    yield catalogue.PROFILE_CHANGES.of({(state,): count for state, count in found.profile_changes.items()})
    yield catalogue.LEAVING.one(found.leaving)
    yield catalogue.PROBLEMS.of({(cause,): count for cause, count in {"other": 0, **found.problems}.items()})
    yield catalogue.WATCHED.one(found.watched)
    yield catalogue.WATCH_OVERDUE.one(found.overdue)
    yield catalogue.IMPORTS.of({(state,): count for state, count in found.imports.items()})
