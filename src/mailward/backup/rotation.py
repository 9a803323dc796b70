"""Backups in a folder: their names, and how many stay."""

import re
from datetime import datetime, timedelta
from pathlib import Path

from mailward.backup import BackupFault

_FORM = r"(mailward|before-[0-9A-Za-z_]+)-\d{8}T\d{6}Z(?:-\d+)?\.tar\.gz(?:\.age)?"
_NAME = re.compile(_FORM, re.ASCII)
_PARTIAL = re.compile(rf"\.{_FORM}\.\d+\.partial", re.ASCII)
_DEAD_AFTER = timedelta(days=1)
"""By time, not by process: several machines may put their backups into one folder."""
DAILY = "mailward"


def new_name(folder: Path, now: datetime, *, sealed: bool, prefix: str = DAILY) -> Path:
    """`mailward-20261130T184500Z.tar.gz`, with `.age` where it is sealed; never one that is there."""
    end = ".tar.gz.age" if sealed else ".tar.gz"
    stamp = f"{prefix}-{now:%Y%m%dT%H%M%SZ}"
    path, number = folder / f"{stamp}{end}", 1
    while path.exists():
        number += 1
        path = folder / f"{stamp}-{number}{end}"
    return path


class NotRemoved(BackupFault):
    """The backup was made, and one that is old stays."""


def remove_old(made: Path, keep: int, *, before_migrations: bool = False) -> list[Path]:
    """Beside the one that was just made, all but the newest of its kind, so that `keep` are left; other files are not
    ours. The new one stays even where the clock was put back.

    Raises NotRemoved, after each has been tried.
    """
    failed = ""
    try:
        old = [path for path in _of_one_kind(made.parent, before_migrations) if path != made]
    except OSError as error:
        raise NotRemoved(f"which are old in {made.parent} cannot be told: {error.strerror}") from error
    gone = []
    for path in old[: max(len(old) - keep + 1, 0)]:
        try:
            path.unlink(missing_ok=True)  # another run may do the same
            gone.append(path)
        except OSError as error:
            failed = failed or f"{path} is old and cannot be removed: {error.strerror}"
    if failed:
        raise NotRemoved(failed)
    return gone


def _of_one_kind(folder: Path, before_migrations: bool) -> list[Path]:
    """The oldest first."""
    found = []
    for path in folder.iterdir():
        name = _NAME.fullmatch(path.name)
        if name and (name[1] != DAILY) == before_migrations and path.is_file():
            found.append((path.stat().st_mtime, path.name, path))
    return [path for _, _, path in sorted(found)]


def remove_partial(folder: Path, now: datetime) -> None:
    """What a run that was killed has left half written, as large as a backup and hidden. Raises OSError."""
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name) and path.lstat().st_mtime < (now - _DEAD_AFTER).timestamp():
            path.unlink(missing_ok=True)
