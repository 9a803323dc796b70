"""How much was free on the disks in the last days: a small file in the data folder, written once an hour by the worker.

A file and no table: each machine has its own disks, and the doctor is asked while the database is away.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from mailward.config import Settings
from mailward.core.doctor.filling import KEPT, Room
from mailward.net import clock
from mailward.net.durable import write_whole

FILE = ".disk-room"
EVERY = timedelta(hours=1)
_MAX_BYTES = 256 * 1024

Rooms = dict[str, tuple[Room, ...]]
"""By the folder."""


def folders(settings: Settings) -> list[Path]:
    """Of the data, and of backups where they are on another disk. Raises OSError."""
    data, backups = settings.data_path, settings.backup_path
    device = data.stat().st_dev
    try:
        is_elsewhere = backups.is_dir() and backups.stat().st_dev != device
    except PermissionError:  # then nothing of ours grows there
        is_elsewhere = False
    return [data, backups] if is_elsewhere else [data]


def room(folder: Path, now: datetime) -> Room:
    """Raises OSError."""
    held = os.statvfs(folder)
    return Room(now, held.f_bavail * held.f_frsize, held.f_blocks * held.f_frsize)


def read_rooms(data: Path) -> Rooms:
    """Empty where there are none, or nothing that can be read: then they are gathered anew."""
    try:
        with (data / FILE).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=Rooms)
    except (OSError, msgspec.DecodeError):
        return {}


def note_rooms(settings: Settings) -> None:
    """If an hour has passed since the last time. Raises OSError."""
    now, data = clock.now(), settings.data_path
    before = read_rooms(data)
    last = max((each.at for rooms in before.values() for each in rooms), default=None)
    if last is not None and last <= now < last + EVERY:
        return
    noted = {
        str(folder): (*_recent(before.get(str(folder), ()), now), room(folder, now))
        for folder in folders(settings)
    }
    write_whole(msgspec.json.encode(noted), data / FILE, 0o600)


def _recent(rooms: Sequence[Room], now: datetime) -> list[Room]:
    return [each for each in rooms if now - KEPT <= each.at <= now]
