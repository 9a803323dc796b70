"""Django's description of the database: an SQLite file, or PostgreSQL by psycopg and its pool."""

from typing import Any

from mailward.config import Settings
from mailward.net.ownership import owner_for_root

Description = dict[str, Any]  # Django's own shape
_CONNECT_SECONDS = 5
_SILENCE_SECONDS = 5
"""The server gives up first, and says why; this is for one that says nothing."""


def describe(settings: Settings) -> Description:
    return _postgresql(settings) if settings.database.name else _sqlite(settings)


def _sqlite(settings: Settings) -> Description:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": settings.sqlite_path,
        "OPTIONS": {
            # Django's defaults lose writes between two processes; these do not
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            # 8 KiB a page, in new databases: of 4 KiB a mail of the usual size leaves a third empty
            # FULL: what was answered with 250 survives a power cut
            "init_command": "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
            "PRAGMA foreign_keys=ON; "
            "PRAGMA cache_size=-32000; PRAGMA mmap_size=268435456; PRAGMA journal_size_limit=67108864",
        },
    }


def _postgresql(settings: Settings) -> Description:
    from mailward.store.postgresql import connection_class

    database = settings.database
    peer = owner_for_root(settings.data_path) if database.is_local else None
    waits = {
        "statement_timeout": database.statement_seconds,
        "lock_timeout": database.lock_seconds,
        # a process of ours that hangs in a transaction must not hold its rows for ever
        "idle_in_transaction_session_timeout": 2 * database.statement_seconds,
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database.name,
        "HOST": database.host,
        "PORT": str(database.port),
        "USER": database.user,
        "PASSWORD": database.password,
        # a connection that broke while it lay in the pool is not given out
        "CONN_HEALTH_CHECKS": True,
        # a cursor of the server's outlives its transaction, which a pooler in transaction mode does not
        "DISABLE_SERVER_SIDE_CURSORS": bool(database.direct_host),
        # whom a local server sees, where root gives the command
        "PEER": peer,
        "DIRECT": {"HOST": database.server[0], "PORT": str(database.server[1])},
        "OPTIONS": {
            **database.tls_options(),
            "application_name": "mailward",
            "connect_timeout": _CONNECT_SECONDS,
            "options": " ".join(f"-c {name}={seconds}s" for name, seconds in waits.items()),
            # a machine that vanished: noticed by the kernel
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 1_000 * (database.statement_seconds + _SILENCE_SECONDS),
            "pool": {
                "min_size": 0,
                "max_size": database.connections,
                "timeout": _CONNECT_SECONDS,
                "max_idle": 300,
                # short: while the server is away each attempt waits twice as long as the one before
                "reconnect_timeout": _CONNECT_SECONDS,
                "connection_class": connection_class(database.statement_seconds + _SILENCE_SECONDS, peer),
            },
        },
    }
