"""What a backup says about itself: its first member."""

import re
from datetime import datetime
from typing import Literal

import msgspec

from mailward.backup import BackupFault

FORMAT = 1
NAME = "manifest.json"
MAX_PARTS = 150_000
"""A file of a certificate for each of 100,000 hosted names is no odd installation."""
MAX_BYTES = 48 * 1024 * 1024
"""Each part takes 320 octets at most."""
SQLITE, DUMP, SETTINGS = "database.sqlite3", "database.dump", "settings.toml"
DATA = "data/"
FOLDERS = ("ca", "certs", "tlsrpt-keys")
"""Of the data folder: the development authority, certificates that the operator keeps, keys that sign report mail."""
# with the longest folder 100 octets, which a header of tar holds
_WORD = r"(?!\.)[A-Za-z0-9._@*+-]{1,83}"
_INSIDE = "|".join(FOLDERS)
# what `mailward restore` holds, keeps, or puts there itself
_TAKEN = rf"(?:lock|backups|restored-settings\.toml|{_INSIDE})$|mailward\.sqlite3|before-restore-"
_PART = re.compile(
    rf"database\.sqlite3|database\.dump|settings\.toml|data/(?:(?:{_INSIDE})/{_WORD}|(?!{_TAKEN}){_WORD})",
    re.ASCII,
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Part(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not is_part_name(self.name):
            raise ValueError("a part has a name that no part has")
        if self.size < 0 or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.name} has no size or no SHA-256")


class Manifest(msgspec.Struct, frozen=True):
    format: int
    mailward: str
    """The release that made it."""
    made_at: datetime
    host: str
    database: Literal["sqlite", "postgresql", ""]
    """Empty: of a host with `mailward sender` alone."""
    migrations: list[str]
    """Which have been applied to the database: `store.0016_own_names`."""
    parts: list[Part]
    absent: list[str] = []
    """Sentences: what belongs to the installation and is not in here."""
    lacks_key: bool = False
    """Whether private keys in the database were sealed by a key that was not at hand."""

    @property
    def size(self) -> int:
        """Of all parts, in octets."""
        return sum(part.size for part in self.parts)


def is_part_name(text: str) -> bool:
    """A file of the data folder or of one of FOLDERS; no `..`, no absolute path, none of the characters that somebody
    may stumble over. Nothing hidden: the data folder is the home of the service's user, and `.ssh` would let people in.
    """
    return _PART.fullmatch(text) is not None


def read_manifest(text: bytes) -> Manifest:
    """Raises BackupFault."""
    try:
        known = msgspec.json.decode(text, type=_Format)
        if known.format != FORMAT:
            raise BackupFault(
                f"it is a backup of format {known.format}, and this Mailward knows format {FORMAT}"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise BackupFault(f"its manifest cannot be read: {error}") from error
    names = [part.name for part in manifest.parts]
    if len(names) > MAX_PARTS or len(names) != len(set(names)):
        raise BackupFault("its manifest names a part twice, or too many")
    return manifest


class _Format(msgspec.Struct):
    format: int
