"""The machine: who may read what is ours, which user runs, what the kernel grants."""

import asyncio
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from mailward.config import Settings
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.access import may_use, service_user, user_name
from mailward.doctor.process import read_running
from mailward.doctor.subject import Findings, Subject, good, unseen

_SECRETS = ("key", "secret-key", "ca/ca.key", "mailward.sqlite3")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MIN_FILES = 4096
"""The servers allow some thousand connections; the processes raise the soft limit to the hard one themselves."""
_MIN_MEMORY = 200 * 1024**2


async def look_at_host(subject: Subject) -> Findings:
    settings = subject.settings
    found = [*_files(settings), *await asyncio.to_thread(_certificates, settings), *_limits(settings)]
    for finding in found:
        yield finding


def _files(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_path
    try:
        status = folder.stat()
        secrets = {name: (folder / name).stat() for name in _SECRETS if (folder / name).exists()}
    except FileNotFoundError:
        yield unseen(f"{folder} is not there yet: it is made at the first start")
        return
    except PermissionError:
        yield unseen(f"this user may not look into {folder}", "run it as the user of Mailward, or as root")
        return
    # whoever may not enter the folder reaches nothing in it
    if status.st_mode & _OTHERS:
        text = f"{folder} has mode {stat.S_IMODE(status.st_mode):04o}: other users may look into it"
        yield tell("folder-open", text, f"chmod 0700 {folder}")
        for name, found in secrets.items():
            if found.st_mode & (_OTHERS & ~stat.S_IXGRP & ~stat.S_IXOTH):
                text = f"{folder / name} has mode {stat.S_IMODE(found.st_mode):04o}: others may read it"
                yield tell("secret-readable", text, f"chmod 0600 {folder / name}")
    strangers = [name for name, found in secrets.items() if found.st_uid != status.st_uid]
    if strangers:
        owner, name = user_name(status.st_uid), strangers[0]
        text = f"{folder / name} belongs to {user_name(secrets[name].st_uid)}, the folder to {owner}"
        yield tell("other-owner", text, f"chown -R {owner}: {folder}")
    elif not status.st_mode & _OTHERS:
        yield good(f"{folder} belongs to {user_name(status.st_uid)} and is open to nobody else")


def _certificates(settings: Settings) -> list[Finding]:
    if not settings.certificates.directory:
        return []
    folder = Path(settings.certificates.directory).absolute()
    try:
        user = service_user(settings)
    except PermissionError:  # told of the data folder
        return []
    if user is None or may_use(folder, (os.R_OK, os.X_OK), user):
        return []
    if os.path.lexists(folder):
        text = f"{user_name(user)} may not read certificates.directory {folder}"
        fix = f"let {user_name(user)} read it and enter the folders above it: chmod o+rx, chgrp or setfacl"
    else:
        text = f"certificates.directory {folder} is not there, or {user_name(user)} may not see it"
        fix = f"mkdir {folder}, or [certificates] directory = the folder of your certificates"
    return [tell("certificates-unread", text, fix)]


def _limits(settings: Settings) -> Iterator[Finding]:
    try:
        running = read_running(settings.data_path)
    except OSError:
        running = None
    pid = running.pid if running else os.getpid()
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    except OSError:  # another user's
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _MIN_FILES:
        text = f"a process may have {hard} files open: connections beyond that are not taken"
        yield tell("few-files", text, "in the unit: LimitNOFILE=65536 (systemctl edit mailward)")
    available = _available_memory()
    if available is not None and available < _MIN_MEMORY:
        text = f"{available // 1024**2} MiB of memory are available: the kernel may end a process of ours"
        yield tell(
            "little-memory", text, "give the machine more memory, or stop what takes it: ps aux --sort=-rss"
        )
    elif available is not None:
        files = "no limit of" if hard == resource.RLIM_INFINITY else f"{hard}"
        yield good(f"{files} open files a process, {available // 1024**2} MiB of memory available")


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
