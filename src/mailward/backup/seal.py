"""Who may open the next backups: as the command says, else as the settings do."""

from collections.abc import Sequence
from pathlib import Path

from mailward.backup import BackupFault
from mailward.backup.age import Lock
from mailward.config import Backup

_MAX_BYTES = 4096


def chosen_lock(
    settings: Backup, recipients: Sequence[str] = (), passphrase_file: Path | None = None
) -> Lock:
    """What is said beside the settings stands in place of what they say. Raises BackupFault."""
    if recipients or passphrase_file is not None:
        return Lock(tuple(recipients), read_passphrase(passphrase_file) if passphrase_file else "")
    if not settings.passphrase_file:
        return Lock(settings.recipients)
    try:
        return Lock(passphrase=read_passphrase(Path(settings.passphrase_file)))
    except BackupFault as error:
        raise BackupFault(f"backup.passphrase_file: {error}") from error


def read_passphrase(path: Path) -> str:
    """The first line. Raises BackupFault."""
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_BYTES + 1)
    except OSError as error:
        raise BackupFault(f"{path} cannot be read: {error.strerror}") from error
    if len(line) > _MAX_BYTES:
        raise BackupFault(f"the first line of {path} has more than {_MAX_BYTES} octets")
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BackupFault(f"{path} is no text in UTF-8") from error
    if not text:
        raise BackupFault(f"{path} holds no passphrase in its first line")
    return text
