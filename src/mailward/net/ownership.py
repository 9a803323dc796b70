"""What root makes by a command, in the folder of the daemon's user, must be the daemon's to use."""

import os
from pathlib import Path


def give_away(number: int, folder: Path) -> None:
    """The open file, to whom the folder belongs, where we are root and he is not. Raises OSError."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid:
        os.fchown(number, owner.st_uid, owner.st_gid)


def give_file_away(path: Path) -> None:
    """The same by its name. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        give_away(number, path.parent)
    finally:
        os.close(number)


def make_empty(path: Path) -> None:
    """A new file, given away; one that is there stays as it is. Raises OSError."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return
    try:
        give_away(number, path.parent)
    finally:
        os.close(number)


def make_folder(path: Path) -> None:
    """For its owner alone, given away. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    give_file_away(path)
