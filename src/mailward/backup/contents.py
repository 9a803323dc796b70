"""What belongs into a backup of an installation, and what does not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailward.backup import BackupFault
from mailward.backup.manifest import DATA, FOLDERS, is_part_name
from mailward.config import Settings

_KEYS = ("secret-key", "key")
KEY = f"{DATA}key"
KEY_AWAY = "the key that opens the private keys in the database: it was not at hand"
_MAX_KEY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of the data folder."""

    part: str
    path: Path
    is_sqlite: bool = False


def is_of_a_platform(settings: Settings) -> bool:
    """Whether `mailward serve` has run on the data folder: it makes this key first, and `mailward sender` has none."""
    return (settings.data_path / _KEYS[0]).exists()


def sender_databases(settings: Settings) -> Iterator[Kept]:
    """Those of `mailward sender` that live in the data folder. Raises BackupFault for one with an odd name."""
    paths = (
        settings.sender_cache_path,
        settings.sender_shadow_path,
        settings.tlsrpt_counts_path,
        settings.tlsrpt_reports_path,
    )
    for path in paths:
        if path.parent == settings.data_path and path.is_file():
            if not is_part_name(DATA + path.name):
                raise BackupFault(f"{path} has a name that a backup cannot bring back; call it otherwise")
            yield Kept(DATA + path.name, path, is_sqlite=True)


def key_files(settings: Settings) -> Iterator[Kept]:
    """To be read after the databases: a key that is replaced meanwhile has the one before behind it.

    Raises BackupFault for a file that would be left out.
    """
    paths = [settings.data_path / name for name in _KEYS]
    for name in FOLDERS:
        folder = settings.data_path / name
        paths += sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        # what begins with a dot is half written by somebody
        if path.is_file() and not path.name.startswith(".") and path.name != "lock":
            yield _kept(settings.data_path, path)


def _kept(folder: Path, path: Path) -> Kept:
    part = DATA + str(path.relative_to(folder))
    if not is_part_name(part) or path.stat().st_size > _MAX_KEY_BYTES:
        raise BackupFault(f"{path} has a name or a size that no key or certificate has; put it elsewhere")
    return Kept(part, path)


def absent(settings: Settings, config: Path | None) -> list[str]:
    """What belongs to the installation and is kept elsewhere: a sentence each."""
    said = []
    if names := sorted(name for name in os.environ if _is_setting(name)):
        said.append(f"settings of the environment: {', '.join(names)}")
    if config is None:
        said.append("a settings file: none was named")
    if settings.key and settings.key not in (_read(config) if config else ""):
        said.append(
            "the key that seals private keys: it comes from MAILWARD_KEY or MAILWARD_KEY_FILE; keep a copy of it"
        )
    folder = settings.certificates.directory
    if folder and Path(folder).absolute() != settings.data_path / "certs":
        said.append(f"certificates of certificates.directory: {folder}")
    if settings.sender.overrides:
        said.append(f"sender.overrides: {settings.sender.overrides}")
    paths = (settings.sender_cache_path, settings.tlsrpt_counts_path, settings.tlsrpt_reports_path)
    said += [
        f"a database of the sender elsewhere: {path}" for path in paths if path.parent != settings.data_path
    ]
    return said


def _is_setting(name: str) -> bool:
    return name.startswith("MAILWARD_") and name not in (
        "MAILWARD_CONFIG",
        "MAILWARD_DATA",
        "MAILWARD_SUPERVISOR",
    )


def _read(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except OSError as error:
        raise BackupFault(f"{config} cannot be read: {error.strerror}") from error
