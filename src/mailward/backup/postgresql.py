"""A PostgreSQL database by its own tools: one snapshot, and a format that every later release of PostgreSQL reads."""

import os
import shutil
import subprocess
from pathlib import Path

from mailward.backup import BackupFault
from mailward.config import Database

_SECONDS = 15
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PSQL = ("--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1")
"""Options: what it brings and no more, and an error ends it."""
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
    asked = query(database, "SELECT to_regclass('django_migrations') IS NOT NULL")
    return query(database, _LIST).splitlines() if asked == "t" else []


def size_of(database: Database) -> int:
    """Octets on the server. Raises BackupFault."""
    return int(query(database, "SELECT pg_database_size(current_database())"))


def is_empty(database: Database) -> bool:
    """Raises BackupFault."""
    return query(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def quoted(name: str) -> str:
    """As an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """As a string of SQL, with standard_conforming_strings, the default since 9.1."""
    return "'" + text.replace("'", "''") + "'"


def query(database: Database, *statements: str) -> str:
    """What they bring, each in a transaction of its own. Raises BackupFault."""
    commands = [f"--command={statement}" for statement in statements]
    return _run(database, "psql", *PSQL, *commands).strip()


def require(program: str) -> None:
    """Raises BackupFault where it is not installed."""
    if shutil.which(program) is None:
        raise BackupFault(
            f"PostgreSQL's {program} is missing here; install its client, Debian's postgresql-client"
        )


def _run(database: Database | None, program: str, *arguments: str) -> str:
    require(program)
    done = subprocess.run(
        [program, *arguments],
        env=os.environ | (environment(database) if database else {}),
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


def environment(database: Database) -> dict[str, str]:
    """A password among the arguments would be seen by everybody."""
    host, port = database.server  # pg_dump and pg_restore set what lasts longer than a transaction
    tls = database.tls_options() if host and not host.startswith("/") else {}
    if tls.get("sslrootcert") == "system":
        tls["sslrootcert"] = _SYSTEM_AUTHORITIES  # libpq of Debian 12 does not know the word
    named = {
        "PGDATABASE": database.name,
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGCONNECT_TIMEOUT": str(_SECONDS),
        **{f"PG{key.upper()}": value for key, value in tls.items()},
    }
    return {key: value for key, value in named.items() if value}
