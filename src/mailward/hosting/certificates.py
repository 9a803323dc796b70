"""Issued certificates at a node: followed from the database into a file beside it, served from there.

The file (SQLite, `<data>/certificates.sqlite3`) is this node's own: it serves every certificate that it knows while the
database is away, over restarts too. Private keys are sealed in it as they are in the database. In memory are the
names alone; the octets are read when a handshake needs a certificate whose context is not there.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connection

from mailward.hosting.notices import Notices
from mailward.net import clock
from mailward.net.sealing import Keyring, Unopenable
from mailward.store.queries.certificates import (
    Served,
    certificate_sequence,
    certificates_after,
    own_certificates_after,
    own_sequences,
    served_sequences,
)
from mailward.store.services.certificates import key_purpose

_log = logging.getLogger("mailward.hosting")

RECONCILE_SECONDS = 600.0
"""How often all names are compared: what was removed, and a database that was restored."""
_ROWS = 1_000

_TABLE = """CREATE TABLE IF NOT EXISTS certificates (
    host TEXT PRIMARY KEY, sequence INTEGER NOT NULL, chain TEXT NOT NULL, sealed_key BLOB NOT NULL
) WITHOUT ROWID"""


class IssuedCertificates:
    """A `net.certificates.CertificateSource`, and what keeps it up to date (`follow`)."""

    def __init__(self, path: Path, keyring: Keyring, *, own_names: bool = False) -> None:
        """`own_names`: those of the installation's own alone, for the report doors. Each process has a file of its own.
        Raises OSError and sqlite3.Error where it cannot be had. One that is damaged is put aside: all that was in it
        is in the database.
        """
        self._path, self._keyring, self._own_names = path, keyring, own_names
        self._versions: dict[str, int]
        try:
            self._file, self._versions = _read(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            _log.error("certificates-file-damaged", extra={"file": path, "reason": error})
            path.replace(path.with_name(f"{path.name}.damaged"))
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            self._file, self._versions = _read(path)
        self._seen = max(self._versions.values(), default=0)
        self._latest: int | None = None
        self._reconciled_at = float("-inf")
        self._database_ok = True
        # one thread: Django keeps a connection for each, and the file is written there
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="certificates")
        self._written: sqlite3.Connection | None = None

    def __len__(self) -> int:
        return len(self._versions)

    def version_for(self, name: str) -> tuple[str, int] | None:
        # a restored database gives the same number again, to another name
        sequence = self._versions.get(name)
        return None if sequence is None else (name, sequence)

    def load(self, name: str) -> tuple[bytes, tuple[str, int]] | None:
        try:
            row = self._file.execute(
                "SELECT sequence, chain, sealed_key FROM certificates WHERE host = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            sequence, chain, sealed = row
            return chain.encode() + self._keyring.open(sealed, key_purpose(name)), (name, sequence)
        except (Unopenable, sqlite3.Error) as error:
            _log.error("certificate-unusable", extra={"host": name, "reason": str(error)})
            return None

    async def follow(self, notices: Notices | None = None) -> None:
        """Ask the database until cancelled. Its errors are logged once; what is known is served on."""
        notices = notices or Notices()
        woken = notices.subscribe()
        try:
            while True:
                woken.clear()
                await self.refresh()
                await notices.wait(woken)
        finally:
            self.close()

    async def refresh(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._fetch)
        except DatabaseError as error:
            if self._database_ok:
                _log.error(
                    "database-unavailable", extra={"reason": error, "still-serving": len(self._versions)}
                )
            self._database_ok = False
            return
        except (sqlite3.Error, OSError) as error:
            # what cannot be kept is not served either: it would be gone after a restart
            _log.error("certificates-not-saved", extra={"file": self._path, "reason": error})
            return
        self._database_ok = True

    def close(self) -> None:
        self._thread.submit(self._close_connections)
        self._thread.shutdown(wait=True)
        self._file.close()

    def _close_connections(self) -> None:
        connection.close()
        if self._written is not None:
            self._written.close()

    def _fetch(self) -> None:
        """Bring the file up to date, and after each step of it what is in memory. Runs in the thread."""
        try:
            if clock.monotonic() - self._reconciled_at >= RECONCILE_SECONDS:
                self._reconcile()
            latest = certificate_sequence()
            if latest == self._latest:
                return
            if latest < self._seen:
                # an older backup was restored: what comes now has numbers that were seen
                self._reconcile()
                self._seen = 0
            after = own_certificates_after if self._own_names else certificates_after
            while rows := after(self._seen, _ROWS):
                self._write(rows)
                # single steps of a dict: the loop sees one or the other
                for row in rows:
                    self._versions[row.host] = row.sequence
                self._seen = rows[-1].sequence
            self._latest = latest
        except DatabaseError:
            connection.close()  # the next try starts afresh
            raise

    def _reconcile(self) -> None:
        wanted = own_sequences() if self._own_names else served_sequences()
        gone = [host for host, sequence in self._versions.items() if wanted.get(host, 0) < sequence]
        if gone:
            self._write_many("DELETE FROM certificates WHERE host = ?", [(host,) for host in gone])
            for host in gone:
                del self._versions[host]
        if gone or wanted.keys() - self._versions.keys():
            # a restored database may hold what was there before
            self._seen, self._latest = 0, None
        self._reconciled_at = clock.monotonic()

    def _write(self, rows: Sequence[Served]) -> None:
        self._write_many(
            "INSERT INTO certificates VALUES (?, ?, ?, ?) ON CONFLICT (host) DO UPDATE SET"
            " sequence = excluded.sequence, chain = excluded.chain, sealed_key = excluded.sealed_key",
            [(row.host, row.sequence, row.chain, row.sealed_key) for row in rows],
        )

    def _write_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if self._written is None:
            self._written = _open(self._path)
        with self._written:
            self._written.executemany(statement, rows)


def _read(path: Path) -> tuple[sqlite3.Connection, dict[str, int]]:
    file = _open(path)
    try:
        return file, dict(file.execute("SELECT host, sequence FROM certificates"))
    except sqlite3.Error:
        file.close()
        raise


def _open(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    file = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _TABLE):
            file.execute(statement).close()
    except sqlite3.Error:
        file.close()
        raise
    return file
