"""What the database says of itself: its settings, its size, and whether its tables are those of this version."""

from dataclasses import dataclass

from django.db import connection
from django.db.migrations.loader import MigrationLoader


@dataclass(frozen=True, slots=True)
class Schema:
    """Migrations of ours."""

    missing: tuple[str, ...]
    """This version has them, the database does not."""
    unknown: tuple[str, ...]
    """A newer version made them."""
    is_empty: bool = False
    """No version has made any."""


def schema() -> Schema:
    loader = MigrationLoader(connection)
    applied = {name for app, name in loader.applied_migrations if app == "store"}
    ours = {name for app, name in loader.disk_migrations if app == "store"}
    return Schema(tuple(sorted(ours - applied)), tuple(sorted(applied - ours)), not applied)


@dataclass(frozen=True, slots=True)
class Sqlite:
    version: str
    journal_mode: str
    damage: str
    """What the quick check says; empty: nothing."""
    bytes: int
    is_empty: bool
    """It has no tables."""


def sqlite(*, checked: bool = True) -> Sqlite:
    """`checked`: with the quick check, which reads the whole file."""
    with connection.cursor() as cursor:

        def ask(text: str) -> str:
            cursor.execute(text)
            return str(cursor.fetchone()[0])

        damage = ask("PRAGMA quick_check(1)") if checked else "ok"
        return Sqlite(
            ask("SELECT sqlite_version()"),
            ask("PRAGMA journal_mode"),
            "" if damage == "ok" else damage,
            int(ask("PRAGMA page_count")) * int(ask("PRAGMA page_size")),
            ask("SELECT count(*) FROM sqlite_master") == "0",
        )


@dataclass(frozen=True, slots=True)
class Postgresql:
    version: int
    """As in server_version_num: 150004."""
    max_connections: int
    connections: int
    """Those to this server that are open now."""
    is_standby: bool
    uses_tls: bool
    synchronous_commit: str
    lag_seconds: float | None
    """Of the standby that is furthest behind; None: there is none, or we may not know."""
    bytes: int
    machines: int
    """From so many addresses our user is connected to our database; all that come by a socket are one."""


def postgresql() -> Postgresql:
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL)
        row = cursor.fetchone()
    return Postgresql(*row)


def is_shared() -> bool:
    """Whether a pooler in transaction mode stands before the server."""
    from mailward.store import postgresql  # psycopg is there only where it is used

    return postgresql.is_shared()


_POSTGRESQL = """
SELECT current_setting('server_version_num')::int, current_setting('max_connections')::int,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), pg_is_in_recovery(),
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    current_setting('synchronous_commit'),
    (SELECT max(extract(epoch FROM replay_lag))::float FROM pg_stat_replication),
    pg_database_size(current_database()),
    (SELECT count(DISTINCT coalesce(host(client_addr), '')) FROM pg_stat_activity
     WHERE usename = current_user AND datname = current_database() AND backend_type = 'client backend')
"""


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"
