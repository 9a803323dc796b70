"""The doctor, in regular hours and when somebody asks: beside the other work, since a look takes up to a minute."""

import asyncio
import contextlib
import logging
import socket
from datetime import timedelta
from typing import Any

from mailward.config import Settings
from mailward.core.doctor.finding import Section
from mailward.doctor.growth import EVERY, note_rooms
from mailward.doctor.look import look
from mailward.doctor.nodes import Nodes
from mailward.doctor.standing import SupervisorSilent, ask_standing
from mailward.doctor.subject import Subject
from mailward.net import clock
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.services import health, outbox
from mailward.worker.outage import AWAY, Outage

_log = logging.getLogger(__name__)
FIRST_SECONDS = 75.0
"""After the start, until all services have had their time to come; whoever asks before need not wait once they have."""
PAUSE_SECONDS = 5.0


async def keep_health(settings: Settings, outage: Outage, stopping: asyncio.Event) -> None:
    """Look when it is due, until told to stop."""
    hours = settings.doctor.every_hours
    every = timedelta(hours=hours) if hours else None
    machine, pause, has_looked, nodes = socket.gethostname(), 0.0, False, Nodes(settings)
    first = clock.monotonic() + FIRST_SECONDS
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stopping.wait()
                return
        pause = PAUSE_SECONDS
        try:
            is_early = clock.monotonic() < first
            # early too: its row is what people ask at
            is_due = await in_store(health.is_due, machine, None if is_early else every)
            # settings change with a start: what was seen before it may be of others
            is_due |= every is not None and not is_early and not has_looked
            if every is not None and not is_early and await nodes.have_changed():
                is_due = True
                if nodes.has_returned:
                    await in_store(outbox.hasten, "announce")  # ids wait for it
            if is_due and (not is_early or await _all_serve(settings)):
                await look_now(settings, machine)
                has_looked = True
        except AWAY as error:
            outage.met(error)
            pause = FIRST_SECONDS
        except Exception:  # noqa: BLE001 - the top of a task
            _log.exception("health-trouble")
            pause = FIRST_SECONDS


async def _all_serve(settings: Settings) -> bool:
    try:
        standing = await ask_standing(settings.data_path)
    except (SupervisorSilent, PermissionError):
        return False
    return bool(standing) and all(each.serves for each in standing)


async def keep_rooms(settings: Settings, stopping: asyncio.Event) -> None:
    """Note once an hour how much is free on the disks, until told to stop: that tells the doctor when they fill."""
    while not stopping.is_set():
        try:
            # in a thread: a network file system whose server is away must not hold the loop
            await asyncio.to_thread(note_rooms, settings)
        except OSError as error:
            _log.warning("disk-room-not-noted", extra={"reason": str(error)})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY.total_seconds()):
                await stopping.wait()


async def look_now(settings: Settings, machine: str) -> None:
    started = clock.monotonic()
    subject = Subject(settings, make_resolver(settings.dns), is_thorough=False)
    sections = [_pack(section) async for section in look(subject)]
    seconds = round(clock.monotonic() - started, 1)
    told = await in_store(health.keep, machine, sections, seconds)
    grades = [finding["grade"] for section in sections for finding in section["findings"]]
    extra = {"problems": grades.count("problem"), "notes": grades.count("advice"), "seconds": seconds}
    _log.info("health-looked", extra=extra | ({"told": ", ".join(told)} if told else {}))


def _pack(section: Section) -> dict[str, Any]:  # JSON
    findings = [
        {"grade": str(each.grade), "code": each.code, "text": each.text, "fix": each.fix}
        for each in section.findings
    ]
    return {"name": section.name, "title": section.title, "findings": findings}
