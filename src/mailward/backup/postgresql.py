"""A PostgreSQL database by its own tools: one snapshot, and a format that every later release of PostgreSQL reads."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mailward.backup import BackupFault
from mailward.config import Database

_SECONDS = 15
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_LIST = "SELECT app || '.' || name FROM django_migrations ORDER BY 1"


def dump(database: Database, target: Path) -> None:
    """Raises BackupFault."""
    _run(database, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def load(database: Database, source: Path) -> None:
    """Into an empty database, whole or not at all. Raises BackupFault."""
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    _run(database, "pg_restore", *options, f"--dbname={database.name}", str(source))


def check_dump(source: Path) -> None:
    """That pg_restore can read its table of contents. Raises BackupFault."""
    _run(None, "pg_restore", "--list", str(source))


def applied_migrations(database: Database) -> list[str]:
    """Raises BackupFault."""
    asked = _query(database, "SELECT to_regclass('django_migrations') IS NOT NULL")
    return _query(database, _LIST).splitlines() if asked == "t" else []


def size_of(database: Database) -> int:
    """Octets on the server. Raises BackupFault."""
    return int(_query(database, "SELECT pg_database_size(current_database())"))


def is_empty(database: Database) -> bool:
    """Raises BackupFault."""
    return _query(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


@contextmanager
def scratch_copy(database: Database, folder: Path) -> Iterator[str]:
    """The name of a database with the same content, beside it; dropped afterwards. `folder`: for the dump on its way.

    Raises BackupFault, also where we may make no database.
    """
    name = f"{database.name}_rehearsal"
    try:
        _query(database, f"CREATE DATABASE {_quoted(name)} TEMPLATE template0")
    except BackupFault as error:
        raise BackupFault(
            f"{error}. The user of the database needs the right to make one: ALTER ROLE ... CREATEDB"
        ) from error
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".rehearsal-dump-") as file:
            dump(database, Path(file.name))
            load(msgspec.structs.replace(database, name=name), Path(file.name))
        yield name
    finally:
        _query(database, f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _query(database: Database, statement: str) -> str:
    return _run(
        database, "psql", "--no-psqlrc", "--no-align", "--tuples-only", f"--command={statement}"
    ).strip()


def _run(database: Database | None, program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        raise BackupFault(
            f"PostgreSQL's {program} is missing here; install its client, Debian's postgresql-client"
        )
    done = subprocess.run(
        [program, *arguments],
        env=os.environ | (_environment(database) if database else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split()).removeprefix(f"{program}: ").removeprefix("error: ")
        raise BackupFault(f"{program} failed: {said[:500].rstrip('.') or done.returncode}")
    return done.stdout


def _environment(database: Database) -> dict[str, str]:
    """A password among the arguments would be seen by everybody."""
    tls = database.tls_options() if database.host and not database.host.startswith("/") else {}
    if tls.get("sslrootcert") == "system":
        tls["sslrootcert"] = _SYSTEM_AUTHORITIES  # libpq of Debian 12 does not know the word
    named = {
        "PGDATABASE": database.name,
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGCONNECT_TIMEOUT": str(_SECONDS),
        **{f"PG{key.upper()}": value for key, value in tls.items()},
    }
    return {key: value for key, value in named.items() if value}
