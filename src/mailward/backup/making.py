"""Making a backup while everything runs."""

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import mailward
from mailward.backup import BackupFault, postgresql
from mailward.backup.age import Lock, Opener
from mailward.backup.archive import opened, write_archive
from mailward.backup.contents import (
    KEY,
    KEY_AWAY,
    Kept,
    absent,
    is_of_a_platform,
    key_files,
    sender_databases,
)
from mailward.backup.manifest import DUMP, SETTINGS, SQLITE, Manifest, Part
from mailward.backup.rotation import remove_partial
from mailward.backup.sealed import at_hand, sealed_in_postgresql, sealed_in_sqlite
from mailward.backup.sqlitecopy import applied_migrations, copy_sqlite, size_of
from mailward.config import Settings
from mailward.net import clock
from mailward.net.durable import sync_folder

_READ_BYTES = 1024 * 1024
_BRING_BACK = "bring back the last good backup with mailward restore"
_SPARE_BYTES = 64 * 1024 * 1024
WORKING = ".backup-"
"""What the working folders in the data folder begin with; what a killed run left is removed by the next one."""


@dataclass
class Gathered:
    """Copies in a working folder."""

    folder: Path
    database: Literal["sqlite", "postgresql", ""] = ""
    migrations: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def place(self) -> Path:
        """For the next part."""
        return self.folder / str(len(self.parts))

    def take(self, name: str, file: Path) -> None:
        digest = hashlib.sha256()
        with file.open("rb") as opened_file:
            while data := opened_file.read(_READ_BYTES):
                digest.update(data)
        self.parts.append(Part(name, file.stat().st_size, digest.hexdigest()))
        self.files[name] = file


def make_backup(settings: Settings, config: Path | None, target: Path, lock: Lock) -> Manifest:
    """One file, whole or not at all, on the disk when this returns, and read again. Raises BackupFault and OSError."""
    if target.exists():
        raise BackupFault(f"{target} is there already; name another file")
    with _gathered(settings, config) as (manifest, files):
        remove_partial(target.parent, clock.now())
        check_space(target.parent, manifest.size)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            _write(partial, manifest, files, lock)
            _name(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    sync_folder(target.parent)
    return manifest


def stream_backup(settings: Settings, config: Path | None, target: BinaryIO, lock: Lock) -> Manifest:
    """To a pipe. Nobody has read it again. Raises BackupFault and OSError."""
    with _gathered(settings, config) as (manifest, files):
        write_archive(target, manifest, files, lock)
        target.flush()
    return manifest


def check_space(folder: Path, size: int) -> None:
    """Raises BackupFault where so much would fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise BackupFault(
            f"{folder} has {free // 2**20} MiB left, and {(size + _SPARE_BYTES) // 2**20} MiB may be needed"
        )


def _write(partial: Path, manifest: Manifest, files: dict[str, Path], lock: Lock) -> None:
    number = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "w+b") as file:
        noting = _Noting(file)
        write_archive(noting, manifest, files, lock)  # type: ignore[arg-type]  # writing is all that is asked of it
        file.flush()
        os.fsync(file.fileno())
        _read_again(file, noting.hexdigest(), lock)


def _name(partial: Path, target: Path) -> None:
    """A file that appeared meanwhile stays, wherever the file system can say that in one step."""
    try:
        os.link(partial, target)
    except FileExistsError as error:
        raise BackupFault(f"{target} is there already; name another file") from error
    except OSError:
        partial.rename(target)


class _Noting:
    """Knows the hash of what went through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _read_again(file: BinaryIO, expected: str, lock: Lock) -> None:
    """What lies there is what was written; and it opens, where we can: not for the recipients of others."""
    file.seek(0)
    digest = hashlib.sha256()
    while data := file.read(_READ_BYTES):
        digest.update(data)
    if digest.hexdigest() != expected:
        raise BackupFault("what was written is not what can be read; look at the disk")
    if not lock.recipients:
        file.seek(0)
        with opened(file, Opener(passphrase=lock.passphrase)) as (_, members):
            members.check()


@contextmanager
def _gathered(settings: Settings, config: Path | None) -> Iterator[tuple[Manifest, dict[str, Path]]]:
    with working_folder(settings.data_path) as folder:
        gathered = Gathered(folder)
        made_at = clock.now()
        _take_database(settings, gathered)
        for kept in (*sender_databases(settings), *key_files(settings)):
            _take(kept, gathered)
        if not gathered.parts:
            raise BackupFault(f"{settings.data_path} holds nothing of Mailward's")
        if config is not None:
            _take(Kept(SETTINGS, config), gathered)
        lacks_key = not _sealing(settings, gathered) <= at_hand(settings, gathered.files.get(KEY))
        manifest = Manifest(
            format=1,
            mailward=mailward.__version__,
            made_at=made_at,
            host=platform.node(),
            database=gathered.database,
            migrations=gathered.migrations,
            parts=gathered.parts,
            absent=[*absent(settings, config), *([KEY_AWAY] if lacks_key else [])],
            lacks_key=lacks_key,
        )
        yield manifest, gathered.files


def _sealing(settings: Settings, gathered: Gathered) -> set[bytes]:
    """Identifiers of the keys that have sealed something in the database."""
    if gathered.database == "postgresql":
        return sealed_in_postgresql(postgresql.access_of(settings))
    return sealed_in_sqlite(gathered.files[SQLITE]) if gathered.database else set()


def _take_database(settings: Settings, gathered: Gathered) -> None:
    if settings.database.name:
        gathered.database = "postgresql"
        access = postgresql.access_of(settings)
        gathered.migrations = postgresql.applied_migrations(access)
        place = gathered.place()
        check_space(gathered.folder, postgresql.size_of(access))
        postgresql.dump(access, place)
        postgresql.check_dump(place)
        gathered.take(DUMP, place)
    elif (path := settings.sqlite_path).exists():
        gathered.database = "sqlite"
        _take(Kept(SQLITE, path, is_sqlite=True), gathered)
        gathered.migrations = applied_migrations(gathered.files[SQLITE])
    elif is_of_a_platform(settings):
        raise BackupFault(f"{path} is not there, and this folder is one of an installation; {_BRING_BACK}")
    # such backups, night by night, would push out the last good one
    if gathered.database and not gathered.migrations:
        where = settings.database.name or path
        raise BackupFault(f"the database {where} has no tables; {_BRING_BACK}")


def _take(kept: Kept, gathered: Gathered) -> None:
    place = gathered.place()
    if kept.is_sqlite:
        check_space(gathered.folder, size_of(kept.path))
        copy_sqlite(kept.path, place)
    else:
        # a copy: who replaces it meanwhile replaces the name, and what is hashed is what is written
        shutil.copyfile(kept.path, place)
    gathered.take(kept.part, place)


@contextmanager
def working_folder(data: Path, prefix: str = WORKING) -> Iterator[Path]:
    """For us alone, gone afterwards; and so is what a killed run left. Raises OSError."""
    remove_left(data, prefix)
    folder, lock = _locked_folder(data, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_left(data: Path, prefix: str) -> None:
    """The working folders whose process has ended. Its lock tells that, not its number: each container counts anew.

    Raises OSError.
    """
    for left in data.glob(f"{prefix}*"):
        try:
            number = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # what root was killed at is swept by root
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody works in it
        finally:
            os.close(number)


def _locked_folder(data: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=data))
        try:
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(number, fcntl.LOCK_EX)
        if folder.exists():
            return folder, number
        os.close(number)  # somebody swept it away in the moment before it was locked
