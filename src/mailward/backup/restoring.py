"""Bringing a backup back: all of it checked in a folder of its own first, then moved to where it belongs."""

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from mailward.backup import BackupFault
from mailward.backup.manifest import DATA, DUMP, SETTINGS, SQLITE, Part
from mailward.net.durable import sync_folder, write_whole

RESTORED_SETTINGS = "restored-settings.toml"
"""In the data folder: where the settings file belongs is the operator's to say."""
_UNFINISHED = ".unfinished-restore"
_OURS = ("lock", "backups")
"""What may be in an empty data folder."""


class Staging:
    """Where the parts of a backup wait until all are known to be good."""

    def __init__(self, folder: Path, only: Collection[str] = ()) -> None:
        """`only`: of others nothing is kept."""
        self._folder = folder
        self._only = only
        self.files: dict[str, Path] = {}

    def open(self, part: Part) -> BinaryIO:
        if self._only and part.name not in self._only:
            return Path(os.devnull).open("wb")
        # names of ours: those of the archive say only where it goes in the end
        path = self._folder / f"part-{len(self.files)}"
        self.files[part.name] = path
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def check_folder(data: Path, *, may_replace: bool) -> None:
    """Raises BackupFault for a data folder that is in use."""
    if not may_replace and (found := _occupants(data)):
        raise BackupFault(
            f"{data} is not empty: it holds {found[0].name}; --replace moves what is there aside"
        )


def mark_unfinished(data: Path, database: str) -> None:
    """On the disk, before the database with this hash is brought in: nobody starts on the half of it, and who repeats
    it knows what a PostgreSQL server has for his own. Raises OSError.
    """
    write_whole(database.encode(), unfinished_mark(data))
    sync_folder(data)


def unfinished(data: Path) -> str:
    """The hash of the database whose restore was cut short; empty: none was. Raises OSError."""
    try:
        return unfinished_mark(data).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def unfinished_mark(data: Path) -> Path:
    return data / _UNFINISHED


def move_aside(data: Path, now: datetime) -> Path | None:
    """What was there, into a folder beside it all; None where nothing was."""
    found = _occupants(data)
    if not found:
        return None
    aside = data / f"before-restore-{now:%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    for path in found:
        path.rename(aside / path.name)
    return aside


def put_in_place(files: dict[str, Path], data: Path) -> None:
    """By name, and on the disk. Raises OSError."""
    for name, path in files.items():
        if name == DUMP:
            continue
        target = data / _place(name)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.rename(target)
        sync_folder(target.parent)


def give_to_owner(data: Path) -> None:
    """Where root restored into the folder of the service's user. Raises OSError."""
    owner = data.stat()
    if os.geteuid() or not owner.st_uid:
        return
    for path in data.rglob("*"):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _place(name: str) -> str:
    if name == SQLITE:
        return "mailward.sqlite3"
    return RESTORED_SETTINGS if name == SETTINGS else name.removeprefix(DATA)


def _occupants(data: Path) -> list[Path]:
    return sorted(path for path in data.iterdir() if path.name not in _OURS and not path.name.startswith("."))
