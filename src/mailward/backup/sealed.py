"""Whether the private keys in a database open by a key that is at hand: without it a backup of them is of no use.

Without Django: SQL of our own, which knows the tables of older releases too.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from mailward.backup import BackupFault, postgresql
from mailward.config import Settings, SettingsError
from mailward.net.sealing import key_identifiers

_TABLES = ("store_acmeaccount", "store_acmeorder", "store_certificate", "store_dnszone")
# a sealed key begins with an octet for its form and eight for the key that sealed it
_SQLITE = "SELECT DISTINCT lower(hex(substr(key, 2, 8))) FROM {} WHERE length(key) > 9"
_POSTGRESQL = "SELECT DISTINCT encode(substring(key from 2 for 8), 'hex') FROM {} WHERE length(key) > 9"


def sealed_in_sqlite(path: Path) -> set[bytes]:
    """Identifiers of the keys that have sealed something. Raises BackupFault."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            asked = " UNION ".join(_SQLITE.format(table) for table in _TABLES if table in there)
            rows = database.execute(asked).fetchall() if asked else []
    except sqlite3.Error as error:
        raise BackupFault(f"the database {path.name} cannot be read: {error}") from error
    return {bytes.fromhex(text) for (text,) in rows}


def sealed_in_postgresql(access: postgresql.Access) -> set[bytes]:
    """The same of a server. Raises BackupFault."""
    named = postgresql.query(access, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
    there = [table for table in _TABLES if table in named]
    if not there:
        return set()
    said = postgresql.query(access, " UNION ".join(_POSTGRESQL.format(table) for table in there))
    return {bytes.fromhex(text) for text in said.split()}


def at_hand(settings: Settings, file: Path | None) -> set[bytes]:
    """Identifiers of the keys that are: those of the settings, else those of `file`; none where they are no keys."""
    try:
        if settings.key:
            return key_identifiers(settings.key, "key")
        return key_identifiers(file.read_text(encoding="ascii"), str(file)) if file else set()
    except (SettingsError, OSError, UnicodeDecodeError):
        return set()
