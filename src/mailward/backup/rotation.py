"""Backups in a folder: their names, and how many stay."""

import re
from datetime import datetime, timedelta
from pathlib import Path

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


def remove_old(folder: Path, keep: int, *, before_migrations: bool = False) -> list[Path]:
    """All but the newest `keep` of one kind; other files are not ours. Raises OSError."""
    found = []
    for path in folder.iterdir():
        name = _NAME.fullmatch(path.name)
        if name and (name[1] != DAILY) == before_migrations and path.is_file():
            found.append((path.stat().st_mtime, path.name, path))
    old = [path for _, _, path in sorted(found)[:-keep]]
    for path in old:
        path.unlink()
    return old


def remove_partial(folder: Path, now: datetime) -> None:
    """What a run that was killed has left half written, as large as a backup and hidden. Raises OSError."""
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name) and path.lstat().st_mtime < (now - _DEAD_AFTER).timestamp():
            path.unlink(missing_ok=True)
