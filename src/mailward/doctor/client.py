"""PostgreSQL's own programs on this machine, by which backups are made."""

import asyncio
import os
import re
import shutil

from mailward.config import Database

_PROGRAMS = ("psql", "pg_dump", "pg_restore")
_SECONDS = 10.0


def missing_programs() -> list[str]:
    """Of those that a backup runs."""
    return [name for name in _PROGRAMS if shutil.which(name) is None]


async def dump_version(database: Database) -> int | None:
    """The major version of the pg_dump that takes this database; None where it does not say one."""
    host, port = database.server
    # Debian has a wrapper there, which chooses among versions by where the server is; as a backup asks it
    where = {"PGPORT": str(port), **({"PGHOST": host} if host else {})}
    process = await asyncio.create_subprocess_exec(
        *("pg_dump", "--version"),
        env=os.environ | where,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = re.search(rb"\(PostgreSQL\) (\d{1,4})", said)
    return int(found[1]) if found else None
