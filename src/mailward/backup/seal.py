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
    """What is said beside the settings stands in place of what they say. Raises BackupFault and OSError."""
    if not recipients and passphrase_file is None:
        recipients = settings.recipients
        passphrase_file = Path(settings.passphrase_file) if settings.passphrase_file else None
    return Lock(tuple(recipients), read_passphrase(passphrase_file) if passphrase_file else "")


def read_passphrase(path: Path) -> str:
    """The first line. Raises BackupFault and OSError."""
    with path.open("rb") as file:
        line = file.readline(_MAX_BYTES + 1)
    if len(line) > _MAX_BYTES:
        raise BackupFault(f"the first line of {path} has more than {_MAX_BYTES} octets")
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BackupFault(f"{path} is no text in UTF-8") from error
    if not text:
        raise BackupFault(f"{path} holds no passphrase in its first line")
    return text
