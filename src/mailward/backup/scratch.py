"""A copy of a PostgreSQL database beside it, to try things on: made, used, dropped; and dropped later where we were
killed.

The copy bears a mark, a comment that only its owner can set. Who makes one holds an advisory lock of the database
itself meanwhile, so that nobody takes a copy in use for one that was left.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from mailward.backup import BackupFault
from mailward.backup.postgresql import (
    PSQL,
    Access,
    as_peer,
    dump,
    environment,
    literal,
    load,
    query,
    quoted,
    require,
)

_END = "_rehearsal"
_MAX_NAME_BYTES = 63
"""PostgreSQL cuts a longer name off without an error."""
_LOCK = 0x6D61696C72656865
"""PostgreSQL's advisory locks are numbers; this one reads "mailrehe"."""
_MARK = "Mailward: a copy of {} for a rehearsal; it may be dropped"
_STATE = """SELECT CASE WHEN pg_get_userbyid(datdba) = current_user AND shobj_description(oid, 'pg_database') = {mark}
 THEN 'ours' ELSE 'unknown' END FROM pg_database WHERE datname = {name}"""


@contextmanager
def scratch_copy(access: Access, folder: Path) -> Iterator[str]:
    """The name of a database with the same content, beside it; dropped afterwards. `folder`: for the dump on its way.

    Raises BackupFault, also where we may make no database.
    """
    name = copy_name(access.database.name)
    with _alone(access) as is_alone:
        if not is_alone:
            raise BackupFault(f"another rehearsal is under way in the database {name}")
        if not _drop_left(access, name):
            raise BackupFault(
                f"there is a database {name} that no rehearsal is known to have made; look at it, and drop it if "
                f"nobody needs it: DROP DATABASE {quoted(name)}"
            )
        _make_marked(access, name)
        try:
            file = folder / "dump"
            dump(access, file)
            load(replace(access, database=msgspec.structs.replace(access.database, name=name)), file)
            file.unlink()
            yield name
        finally:
            _drop(access, name)


def drop_left_copy(access: Access) -> None:
    """That of a rehearsal that was killed, if there is one. Raises BackupFault."""
    with _alone(access) as is_alone:
        if is_alone:
            _drop_left(access, copy_name(access.database.name))


def copy_name(name: str) -> str:
    """Of the copy of the database `name`. Raises BackupFault."""
    kept = name.encode()[: _MAX_NAME_BYTES - len(_END)].decode(errors="ignore")
    if kept + _END == name:
        raise BackupFault(f"the database {name} has the name that its copy would get")
    return kept + _END


def _drop_left(access: Access, name: str) -> bool:
    """Whether the name is free now."""
    mark = _MARK.format(access.database.name)
    state = query(access, _STATE.format(mark=literal(mark), name=literal(name)))
    if state == "ours":
        _drop(access, name)
    return state in ("", "ours")


def _make_marked(access: Access, name: str) -> None:
    mark = f"COMMENT ON DATABASE {quoted(name)} IS {literal(_MARK.format(access.database.name))}"
    try:
        # one psql does both: it goes on where only we are killed
        query(access, f"CREATE DATABASE {quoted(name)} TEMPLATE template0", mark)
    except BackupFault as error:
        raise BackupFault(
            f"{error}. The user of the database needs the right to make one: ALTER ROLE ... CREATEDB"
        ) from error


def _drop(access: Access, name: str) -> None:
    query(access, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


@contextmanager
def _alone(access: Access) -> Iterator[bool]:
    """Whether nobody else rehearses on this database, and nobody can until the end of the block.

    The lock ends with us however we end: the psql that has it reads from our pipe.
    """
    require("psql")
    with subprocess.Popen(
        ["psql", *PSQL],
        env=os.environ | environment(access.database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        **as_peer(access),
    ) as holder:
        if holder.stdin is None or holder.stdout is None:  # for mypy: both are pipes
            raise AssertionError
        try:
            try:
                holder.stdin.write(f"SELECT pg_try_advisory_lock({_LOCK});\n")
                said = holder.stdout.readline().strip()
            except BrokenPipeError:
                said = ""
            if not said:
                # it has ended; asked in the same way, it says why
                query(access, "SELECT 1")
                raise BackupFault("the database does not answer")
            yield said == "t"
        finally:
            holder.kill()
