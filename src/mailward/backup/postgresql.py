"""A PostgreSQL database by its own tools: one snapshot, and a format that every later release of PostgreSQL reads."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

from mailward.backup import BackupFault
from mailward.config import Database, Settings
from mailward.net.ownership import Owner, owner_for_root

_SECONDS = 15
_SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PSQL = ("--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1")
"""Options: what it brings and no more, and an error ends it."""
_LIST = "SELECT app || '.' || name FROM django_migrations ORDER BY 1"


class Child(TypedDict, total=False):
    user: int
    group: int
    extra_groups: tuple[int, ...]
    cwd: str


@dataclass(frozen=True, slots=True)
class Access:
    """To a database, and as whom."""

    database: Database
    peer: Owner | None = None
    """None: as who we are."""


def access_of(settings: Settings) -> Access:
    """A local server is asked by the user of the service, whom it knows, though root gives the command."""
    database = settings.database
    return Access(database, owner_for_root(settings.data_path) if database.is_local else None)


def dump(access: Access, target: Path) -> None:
    """Raises BackupFault."""
    # opened here: whom the server knows need not reach the file
    with target.open("wb") as file:
        _run(access, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", output=file)


def load(access: Access, source: Path) -> None:
    """Into an empty database, whole or not at all. Raises BackupFault."""
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    with source.open("rb") as file:
        _run(access, "pg_restore", *options, f"--dbname={access.database.name}", source=file)


def check_dump(source: Path) -> None:
    """That pg_restore can read its table of contents. Raises BackupFault."""
    _run(None, "pg_restore", "--list", str(source))


def applied_migrations(access: Access) -> list[str]:
    """Raises BackupFault."""
    asked = query(access, "SELECT to_regclass('django_migrations') IS NOT NULL")
    return query(access, _LIST).splitlines() if asked == "t" else []


def size_of(access: Access) -> int:
    """Octets on the server. Raises BackupFault."""
    return int(query(access, "SELECT pg_database_size(current_database())"))


def is_empty(access: Access) -> bool:
    """Raises BackupFault."""
    return query(access, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def quoted(name: str) -> str:
    """As an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """As a string of SQL, with standard_conforming_strings, the default since 9.1."""
    return "'" + text.replace("'", "''") + "'"


def query(access: Access, *statements: str) -> str:
    """What they bring, each in a transaction of its own. Raises BackupFault."""
    commands = [f"--command={statement}" for statement in statements]
    return _run(access, "psql", *PSQL, *commands).strip()


def require(program: str) -> None:
    """Raises BackupFault where it is not installed."""
    if shutil.which(program) is None:
        raise BackupFault(
            f"PostgreSQL's {program} is missing here; install its client, Debian's postgresql-client"
        )


def _run(
    access: Access | None,
    program: str,
    *arguments: str,
    source: IO[bytes] | int = subprocess.DEVNULL,
    output: IO[bytes] | int = subprocess.PIPE,
) -> str:
    """What it says, unless `output` gets that."""
    require(program)
    done = subprocess.run(
        [program, *arguments],
        env=os.environ | (environment(access.database) if access else {}),
        stdin=source,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        **as_peer(access),
    )
    if done.returncode:
        said = " ".join(done.stderr.split()).removeprefix(f"{program}: ").removeprefix("error: ")
        raise BackupFault(f"{program} failed: {said[:500].rstrip('.') or done.returncode}")
    return done.stdout or ""


def as_peer(access: Access | None) -> Child:
    """Options of subprocess."""
    peer = access.peer if access else None
    if peer is None:
        return {}
    # where we are, he may not be
    return {"user": peer.user, "group": peer.group, "extra_groups": peer.groups, "cwd": "/"}


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
