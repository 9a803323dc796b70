"""What is looked at, and how findings are made."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from mailward.config import Settings
from mailward.core.doctor.finding import Finding, Grade
from mailward.doctor.asking import ask, one_line
from mailward.net.resolver import Resolver

_P = ParamSpec("_P")
_T = TypeVar("_T")

Findings = AsyncIterator[Finding]
NOT_OBSERVED = "not-observed"
FINE = "fine"


@dataclass(frozen=True, slots=True)
class Subject:
    """One installation, seen from this machine."""

    settings: Settings
    resolver: Resolver
    no_database: str = ""
    """Why the database cannot be asked; empty: Django is set up for it."""
    send_to: str = ""
    """The address that gets a real mail; empty: none is sent."""
    is_thorough: bool = True
    """With what takes a while and holds a thread: not in a process that has other work."""

    async def ask(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the function of the store returns. Raises NotAsked."""
        return await ask(self.no_database, function, *args, **kwargs)

    @property
    def is_trial(self) -> bool:
        """Whether nothing is offered to anybody else: no name of ours is one of the Internet."""
        settings = self.settings
        return not settings.own_names and not settings.nameserver.zone

    @property
    def ca_file(self) -> Path | None:
        return Path(self.settings.watch.ca_file) if self.settings.watch.ca_file else None


def good(text: str) -> Finding:
    return Finding(Grade.GOOD, FINE, text)


def unseen(text: str, fix: str = "") -> Finding:
    """It could not be looked at from here, which is no alarm."""
    return Finding(Grade.UNSEEN, NOT_OBSERVED, text, fix)


def reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # asyncio puts sentences of its own into strerror
    return os.strerror(error.errno).lower() if error.errno else one_line(error)
