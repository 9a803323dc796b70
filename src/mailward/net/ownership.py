"""Root at the data folder of the service's user: what root makes there is his, and PostgreSQL is asked as him."""

import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_acting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Owner:
    """Numbers of a user, of his group, and of all that he belongs to."""

    user: int
    group: int
    groups: tuple[int, ...]


def owner_for_root(folder: Path) -> Owner | None:
    """To whom the folder belongs, where we are root and he is not; None too where it is not there."""
    if os.geteuid() != 0:
        return None
    try:
        found = folder.stat()
    except OSError:
        return None
    return _owner(found.st_uid, found.st_gid) if found.st_uid else None


def _owner(user: int, group: int) -> Owner:
    try:
        groups = os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:  # a number without a name, as in containers
        groups = [group]
    return Owner(user, group, tuple(groups))


def become(owner: Owner) -> None:
    """From now on, in all threads; what was opened before stays open."""
    os.setgroups(owner.groups)
    os.setegid(owner.group)
    os.seteuid(owner.user)


@contextmanager
def acting_as(owner: Owner | None) -> Iterator[None]:
    """The same until the end of the block; None: as who we are. For a moment in which nothing else goes on."""
    if owner is None:
        yield
        return
    with _acting:
        usual = Owner(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        try:
            become(owner)
            yield
        finally:
            # first the user: only root sets the groups
            os.seteuid(usual.user)
            os.setegid(usual.group)
            os.setgroups(usual.groups)


def give_away(number: int, folder: Path) -> None:
    """The open file, to whom the folder belongs, where we are root and he is not. Raises OSError."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid:
        os.fchown(number, owner.st_uid, owner.st_gid)


def give_file_away(path: Path) -> None:
    """The same by its name. Raises OSError; for a link too, which whoever the folder belongs to may have put there."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
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


def make_folder(path: Path, owner: Owner | None = None) -> None:
    """For its owner alone, and so is what is missing above it: `owner`, or else to whom the folder above belongs, where
    we are root. Raises OSError.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        try:
            each.mkdir(mode=0o700)
        except FileExistsError:
            continue
        if owner is None:
            give_file_away(each)
        else:
            os.chown(each, owner.user, owner.group, follow_symlinks=False)
