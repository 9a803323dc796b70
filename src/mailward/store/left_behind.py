"""An installation that the settings have left behind: its SQLite file is in use, the PostgreSQL database is not.

Who starts on the empty database serves no policy, to nobody. A node that was never on SQLite has no such file; after
`mailward database copy` the file stays, and the database is not empty.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from mailward.config import Settings

_ASKED = {
    "store_user": "SELECT EXISTS (SELECT 1 FROM store_user)",
    "store_domain": "SELECT EXISTS (SELECT 1 FROM store_domain)",
}
_BUSY_SECONDS = 2


def is_left_behind(settings: Settings) -> bool:
    """Django is set up for the database, which may have no tables yet. Raises django.db.Error."""
    if not settings.database.name or not file_is_in_use(settings.sqlite_path):
        return False
    from django.db import connection  # who only looks at the file has no need of it

    with connection.cursor() as cursor:
        there = connection.introspection.table_names(cursor)
        for table, question in _ASKED.items():
            if table in there:
                cursor.execute(question)
                if cursor.fetchone()[0]:
                    return False
    return True


def file_is_in_use(path: Path) -> bool:
    """Whether it has people or domains; without Django. One that cannot be read has none that could be copied."""
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        ) as database:
            return any(database.execute(question).fetchone()[0] for question in _ASKED.values())
    except sqlite3.Error:
        return False


def tell_left_behind(settings: Settings) -> tuple[str, str]:
    """What is wrong, and what to do."""
    path = settings.sqlite_path
    return (
        f"the PostgreSQL database {settings.database.name} has no people and no domains, and {path} has",
        f"stop Mailward, run mailward database copy, start it; or, to begin anew without them, move {path} away",
    )
