"""All checks at once, each until its own deadline; told in their order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from mailward.core.doctor.catalogue import TOPICS
from mailward.core.doctor.finding import Finding, Section
from mailward.doctor.asking import NotAsked, one_line
from mailward.doctor.checks import CHECKS, Check
from mailward.doctor.subject import Subject, unseen

_log = logging.getLogger(__name__)


async def look(subject: Subject, only: Sequence[str] = ()) -> AsyncIterator[Section]:
    """Section by section; those that `only` names, or all."""
    chosen = [check for check in CHECKS if not only or check.name in only]
    tasks = [asyncio.create_task(_run(check, subject)) for check in chosen]
    try:
        for check, task in zip(chosen, tasks, strict=True):
            yield Section(TOPICS[check.name].title, tuple(await task), check.name)
    finally:
        for task in tasks:
            task.cancel()


async def _run(check: Check, subject: Subject) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.seconds):
            async for finding in check.run(subject):
                found.append(finding)  # noqa: PERF401 - what was found before the deadline is kept
    except TimeoutError:
        found.append(unseen(f"not finished within {check.seconds:g} seconds"))
    except NotAsked as error:
        found.append(unseen(f"not looked at: {error}"))
    except Exception as error:  # noqa: BLE001 - the top of a task: one check that fails leaves the others alone
        _log.exception("check-failed", extra={"check": check.name})
        found.append(unseen(f"this check failed itself: {type(error).__name__}: {one_line(error)}"))
    return found
