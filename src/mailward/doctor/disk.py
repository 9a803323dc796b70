"""Room for what is kept, and whether there is a second copy of it."""

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from mailward.config import Settings
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.filling import Filling, judge_filling
from mailward.core.doctor.finding import Finding
from mailward.doctor import growth
from mailward.doctor.access import may_use, service_user, user_name
from mailward.doctor.backups import newest_backup
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net import clock
from mailward.render.sizes import write_size

_LARGE_LOG = 512 * 1024**2
"""SQLite's write-ahead log is cut back to 64 MiB whenever nobody reads what is old."""
_SPARE = 20 * 1024**3
"""So much is enough, whatever share of the whole it is."""


async def look_at_disk(subject: Subject) -> Findings:
    settings = subject.settings
    try:
        # in a thread: a network file system whose server is away must not hold the worker's loop
        found = await asyncio.to_thread(_look, settings, is_trial=subject.is_trial)
    except FileNotFoundError:
        yield unseen(f"{settings.data_path} is not there yet: it is made at the first start")
    else:
        for finding in found:
            yield finding


def _look(settings: Settings, *, is_trial: bool) -> list[Finding]:
    """Raises FileNotFoundError where there is no data folder."""
    found: list[Finding] = []
    for look in (_space, _growth, _database, partial(_backups, is_trial=is_trial)):
        try:
            found += look(settings)
        except PermissionError as error:
            # of another part: it keeps nobody from looking at the rest
            where = Path(error.filename or settings.data_path)
            where = settings.data_path if where.is_relative_to(settings.data_path) else where
            found.append(unseen(f"this user may not look into {where}"))
    return list(dict.fromkeys(found))


def _space(settings: Settings) -> Iterator[Finding]:
    folder, least = settings.data_path, settings.doctor.disk_percent
    held = os.statvfs(folder)
    free, whole = held.f_bavail * held.f_frsize, held.f_blocks * held.f_frsize
    percent = 100 * free / whole if whole else 100.0
    if percent < least and free < _SPARE:
        text = f"{write_size(free)} of {write_size(whole)} are free for {folder}, {percent:.1f} %"
        yield tell("disk-full", text, f"see what takes it: du -xh {folder} | sort -h | tail; then make room")
    else:
        yield good(f"{write_size(free)} of {write_size(whole)} are free for {folder}")
    # file systems without a table of inodes say that they have none
    if held.f_files and 100 * held.f_favail / held.f_files < least:
        text = f"{held.f_favail:,} of {held.f_files:,} inodes are free for {folder}"
        yield tell(
            "inodes-full", text, f"find what has many small files: du --inodes -x {folder} | sort -n | tail"
        )


def _growth(settings: Settings) -> Iterator[Finding]:
    now, noted, days = clock.now(), growth.read_rooms(settings.data_path), settings.doctor.disk_days
    for folder in growth.folders(settings):
        filling = judge_filling(noted.get(str(folder), ()), growth.room(folder, now))
        if filling is None or filling.days_left >= days:
            continue
        end = now + timedelta(days=filling.days_left)
        text = (
            f"the disk of {folder} loses {write_size(round(filling.octets_a_day))} a day (over the last "
            f"{filling.days_seen:.1f} days): it is full in {filling.days_left:.1f} days, at {end:%Y-%m-%d}"
        )
        yield tell("disk-fills", text, _make_room(settings, folder, filling, days))


def _make_room(settings: Settings, folder: Path, filling: Filling, days: int) -> str:
    more = write_size(round(filling.octets_a_day * days * 2))
    keep, fewer = settings.backup.keep, ""
    if settings.backup_path.is_relative_to(folder) and keep > 1:
        fewer = f", or keep fewer backups: [backup] keep = {keep // 2}"
    return (
        f"see what grows: du -xh {folder} | sort -h | tail; make the disk larger by {more}, which is enough for "
        f"{days * 2} days more{fewer}"
    )


def _database(settings: Settings) -> Iterator[Finding]:
    if settings.database.name or not settings.sqlite_path.exists():
        return
    path = settings.sqlite_path
    log = path.with_name(f"{path.name}-wal")
    held = log.stat().st_size if log.exists() else 0
    if held > _LARGE_LOG:
        text = (
            f"{log} has {write_size(held)}: something reads the database for very long, so it is not cut back"
        )
        yield tell("log-large", text, f"see who has it open: fuser -v {path}; restart Mailward")
    yield good(f"the database has {write_size(path.stat().st_size + held)}")


def _backups(settings: Settings, *, is_trial: bool) -> Iterator[Finding]:
    user, folder = service_user(settings), settings.backup_path
    if user is not None and (lacks := _what_lacks(folder, user)):
        name = user_name(user)
        text = f"{name} may not {lacks} the folder of backups, {folder}"
        fix = f"chown {name}: {folder}, and let {name} through the folders above it; or [backup] folder = another"
        yield tell("backup-folder", text, fix)
        return
    newest = newest_backup(settings)
    if newest is None:
        if not is_trial:
            yield tell("no-backup", f"there is no backup in {settings.backup_path}", "mailward backup")
        return
    age = clock.now() - newest
    if age > timedelta(hours=settings.doctor.backup_hours):
        hours = age.total_seconds() / 3600
        text = f"the newest backup is of {newest:%Y-%m-%d %H:%M} UTC, {hours:.0f} hours old"
        yield tell("backup-old", text, "systemctl list-timers 'mailward*', journalctl -u mailward-backup")
    else:
        yield good(f"the newest backup is of {newest:%Y-%m-%d %H:%M} UTC")


def _what_lacks(folder: Path, user: int) -> str:
    """What the user of the service cannot do there; empty: nothing. One that is not there yet has to be made."""
    if may_use(folder, (os.R_OK, os.X_OK), user):
        # a unit with ProtectSystem=strict sees a disk that another unit writes to as read-only
        is_shown_so = os.geteuid() == user and os.statvfs(folder).f_flag & os.ST_RDONLY
        return "" if is_shown_so or may_use(folder, (os.W_OK,), user) else "write"
    try:
        if folder.exists():
            return "read"
        above = next(each for each in folder.parents if each.exists())
    except PermissionError:
        return "reach"
    return "" if may_use(above, (os.W_OK, os.X_OK), user) else "make"
