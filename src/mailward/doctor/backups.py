"""Backups as they lie in their folder."""

from datetime import UTC, datetime
from pathlib import Path

from mailward.config import Settings


def newest_backup(settings: Settings) -> datetime | None:
    """When the newest was written; None: there is none. Raises PermissionError."""
    folder = settings.backup_path
    if not folder.is_dir():
        return None
    times = [entry.stat().st_mtime for entry in folder.iterdir() if _is_backup(entry)]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _is_backup(entry: Path) -> bool:
    return entry.is_file() and not entry.name.startswith(".")
