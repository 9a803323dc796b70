"""Many batches in a row: one flush to the disk at the end instead of one a batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_CHECKPOINT_PAGES = 5_000  # 40 MiB; the default of 1,000 copies the busiest pages with every batch


@contextmanager
def bulk_writes() -> Iterator[None]:
    """Inside, a commit may be lost with the power, though never torn; after it, everything is on the disk.

    For imports, which can be repeated. Elsewhere than on SQLite commits stay as they are.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    try:
        yield
    finally:
        connection.close()  # the next one has the usual settings
        _flush(str(connection.settings_dict["NAME"]))


def _flush(path: str) -> None:
    for name in (f"{path}-wal", path):
        try:
            handle = os.open(name, os.O_RDONLY)
        except FileNotFoundError:  # the write-ahead log was merged and removed
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
