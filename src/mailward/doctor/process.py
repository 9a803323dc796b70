"""Whether Mailward runs on a data folder, and since when: read from its lock and from /proc, changing nothing."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mailward.net import clock

STARTING = timedelta(seconds=60)
_PROC = Path("/proc")
_START_FIELD = 19  # starttime of proc(5), counted behind the command's closing bracket


@dataclass(frozen=True, slots=True)
class Process:
    name: str
    pid: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Running:
    """The supervisor and its services."""

    pid: int
    since: datetime | None
    """None where /proc does not show it, as in another container."""
    version: str
    """Empty: it does not say."""
    services: tuple[Process, ...]

    @property
    def is_starting(self) -> bool:
        """Whether what is not there yet may still come."""
        return self.since is not None and clock.now() - self.since < STARTING


def read_running(folder: Path) -> Running | None:
    """None: nobody holds the lock. Raises PermissionError where this user may not look."""
    try:
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, version = file.read(100).partition("\n")
        else:
            return None  # closing gives it back
    number = int(pid) if pid.isdecimal() else 0
    return Running(number, _since(number), version.strip(), tuple(_services(number)))


def read_environment(folder: Path) -> dict[str, str]:
    """The variables of ours that the running process was given; none where it does not run or we may not look."""
    try:
        running = read_running(folder)
        held = (_PROC / str(running.pid) / "environ").read_bytes() if running is not None else b""
    except OSError:
        return {}
    pairs = (os.fsdecode(each).partition("=") for each in held.split(b"\0"))
    return {name: value for name, _, value in pairs if name.startswith("MAILWARD_")}


def _services(supervisor: int) -> Iterator[Process]:
    try:
        children = (_PROC / str(supervisor) / "task" / str(supervisor) / "children").read_text().split()
    except OSError:
        return
    for pid in map(int, children):
        try:
            words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended
            continue
        names = [word[1:].decode("ascii", "replace") for word in words if word.startswith(b"_")]
        since = _since(pid)
        if names and since is not None:
            yield Process(names[0], pid, since)


def _since(pid: int) -> datetime | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    ticks = int(stat.rpartition(")")[2].split()[_START_FIELD])
    age = clock.since_boot() - ticks / os.sysconf("SC_CLK_TCK")
    return clock.now() - timedelta(seconds=max(age, 0.0))
