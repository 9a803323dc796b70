"""One check of the doctor, run on settings of the test's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from mailward.config import Dns, Settings
from mailward.core.doctor.finding import Finding, Grade
from mailward.doctor.subject import Findings, Subject
from mailward.net.resolver import Resolver, make_resolver

NOBODY = Dns(resolvers=("127.0.0.1:9",))
Run = Callable[[Subject], Findings]


def make_subject(
    folder: Path,
    *,
    resolver: Resolver | None = None,
    no_database: str = "",
    send_to: str = "",
    **tables: Any,
) -> Subject:
    settings = msgspec.structs.replace(Settings(data=str(folder), dns=NOBODY), **tables)
    return Subject(settings, resolver or make_resolver(settings.dns), no_database, send_to)


async def look(check: Run, subject: Subject) -> list[Finding]:
    return [finding async for finding in check(subject)]


async def told(check: Run, subject: Subject) -> dict[str, str]:
    """Code -> text of what is wrong or could be better."""
    found = await look(check, subject)
    return {each.code: each.text for each in found if each.grade in (Grade.ADVICE, Grade.PROBLEM)}


async def grades(check: Run, subject: Subject) -> list[Grade]:
    return [finding.grade for finding in await look(check, subject)]
