"""Changing the tables of a database in use: backed up first, tried on a copy where asked, and undone to step back."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import typer
from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

import mailward
from mailward.backup import BackupFault, postgresql
from mailward.backup.making import WORKING, check_space, make_backup, remove_left, working_folder
from mailward.backup.rotation import NotRemoved, new_name, remove_old
from mailward.backup.scratch import copy_name, drop_left_copy, scratch_copy
from mailward.backup.seal import chosen_lock
from mailward.backup.sqlitecopy import copy_sqlite, size_of
from mailward.cli.problem import Problem
from mailward.cli.tables import Plan, alone, check_owner, database_errors, in_use
from mailward.config import Settings
from mailward.net import clock
from mailward.net.ownership import Owner, give_file_away, make_folder, owner_for_root
from mailward.store.releases import RELEASES

_log = logging.getLogger("mailward.database")
_REHEARSAL = ".rehearsal-"


def back_up_first(settings: Settings, plan: Plan) -> None:
    """Into the folder of backups, unless the settings leave that to the operator. Raises Problem."""
    if not settings.backup.before_migrations:
        return
    config = os.environ.get("MAILWARD_CONFIG")
    try:
        lock = chosen_lock(settings.backup)
        folder = _folder(settings)
        prefix = f"before-{plan[0][0].name}".replace("-", "_").replace("before_", "before-", 1)
        path = new_name(folder, clock.now(), sealed=bool(lock), prefix=prefix)
        make_backup(settings, Path(config) if config else None, path, lock)
        give_file_away(path)
    except (BackupFault, OSError) as error:
        raise Problem(
            f"The tables must change ({plan[0][0].name}), and the backup before that failed: {error}. If you made one "
            "yourself: MAILWARD_BACKUP_BEFORE_MIGRATIONS=false"
        ) from error
    _log.info("backed-up", extra={"file": path, "before": plan[0][0].name})
    try:
        remove_old(path, settings.backup.keep_before_migrations, before_migrations=True)
    except NotRemoved as error:
        # the tables may change: there is a way back
        _log.warning("old-backup-stays", extra={"detail": str(error)})


def _folder(settings: Settings) -> Path:
    """The folder of backups, or that of the data folder where this process may not write there. Raises OSError.

    A unit with ProtectSystem=strict writes where ReadWritePaths= names, and a disk may be away: neither keeps the
    service from starting, since a backup in the data folder is a way back as well.
    """
    folder = settings.backup_path
    beside = settings.data_path / "backups"
    owner = owner_for_root(settings.data_path)
    try:
        _try_to_write(folder, owner)
    except OSError as error:
        if folder == beside:
            raise
        _try_to_write(beside, owner)
        _log.warning(
            "backup-elsewhere",
            extra={
                "folder": beside,
                "detail": f"backup.folder {folder} cannot be written: {error.strerror}; "
                "a unit of systemd's needs ReadWritePaths= for it",
            },
        )
        return beside
    return folder


def _try_to_write(folder: Path, owner: Owner | None) -> None:
    """Raises OSError."""
    make_folder(folder, owner)
    with TemporaryFile(dir=folder):
        pass


def migrate_now(settings: Settings, to: str | None) -> None:
    """Tells what was done. Raises Problem."""
    with database_errors(), alone():
        executor = MigrationExecutor(connection, _tell)
        check_owner(executor)
        plan = _plan(executor, to)
        if not plan:
            typer.echo("The tables are as they should be.")
            return
        if in_use(executor):
            back_up_first(settings, plan)
        _apply(executor, plan, to)
    if to in RELEASES:
        typer.echo(f"The tables are those of Mailward {to}. Start that release now.")


def rehearse(settings: Settings, to: str | None) -> None:
    """The same on a copy of the database, which is thrown away. Raises Problem."""
    begun = clock.monotonic()
    try:
        with _copied(settings):
            copied = clock.monotonic()
            with database_errors(), alone():
                executor = MigrationExecutor(connection, _tell)
                check_owner(executor)
                plan = _plan(executor, to)
                _apply(executor, plan, to)
                connection.check_constraints()
            ended = clock.monotonic()
    except (BackupFault, OSError) as error:
        raise Problem(f"No copy to try it on: {error}.") from error
    if not plan:
        typer.echo("The tables are as they should be: there is nothing to do.")
        return
    typer.echo(
        f"On a copy, made in {copied - begun:.1f} s, {'this' if len(plan) == 1 else 'these'} took "
        f"{ended - copied:.1f} s. The database itself was not changed."
    )


def _plan(executor: MigrationExecutor, to: str | None) -> Plan:
    """Raises Problem for a release that we do not know, and where a step cannot be undone."""
    plan: Plan = executor.migration_plan(_targets(executor, to))
    for migration, is_undone in plan:
        if is_undone and not all(operation.reversible for operation in migration.operations):
            raise Problem(
                f"{migration.name} cannot be undone. To go back before it, restore the backup that was made then."
            )
    return plan


def _targets(executor: MigrationExecutor, to: str | None) -> list[tuple[str, str]]:
    if to is None or to == mailward.__version__:
        return list(executor.loader.graph.leaf_nodes())
    if to not in RELEASES:
        raise Problem(f"{to!r} is no release that this one can step back to: {', '.join(RELEASES)}.")
    return [("store", RELEASES[to])]


def _apply(executor: MigrationExecutor, plan: Plan, to: str | None) -> None:
    if not plan:
        return
    executor.migrate(_targets(executor, to), plan=plan)
    if not any(is_undone for _, is_undone in plan):
        # what follows from new tables: kinds of content, rights
        call_command("migrate", interactive=False, verbosity=0)


_started = 0.0


def _tell(action: str, migration: Migration | None = None, fake: bool | None = False, /) -> None:
    """Django tells what it is at."""
    global _started  # noqa: PLW0603 - Django calls a function, and one migration runs at a time
    if action in ("apply_start", "unapply_start"):
        _started = clock.monotonic()
    elif migration is not None and action in ("apply_success", "unapply_success"):
        undone = " undone" if action == "unapply_success" else ""
        seconds = clock.monotonic() - _started
        typer.echo(f"{seconds:>9.2f} s  {migration.app_label}.{migration.name}{undone}")


def clear_rehearsals(settings: Settings) -> None:
    """What runs that were killed have left, as large as the database. Nothing of it keeps a start from going on."""
    try:
        for prefix in (WORKING, _REHEARSAL):
            remove_left(settings.data_path, prefix)
        if settings.database.name and _is_database(copy_name(settings.database.name)):
            drop_left_copy(postgresql.access_of(settings))
    except (BackupFault, OSError, DatabaseError) as error:
        _log.warning("rehearsal-stays", extra={"detail": str(error)})


def _is_database(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


@contextmanager
def _postgresql_copy(settings: Settings) -> Iterator[str]:
    with working_folder(settings.data_path, _REHEARSAL) as folder:
        access = postgresql.access_of(settings)
        check_space(folder, postgresql.size_of(access))
        with scratch_copy(access, folder) as name:
            yield name


@contextmanager
def _copied(settings: Settings) -> Iterator[None]:
    """Django's connection leads to a copy until the end of the block: migrations may use no other."""
    if settings.database.name:
        with _postgresql_copy(settings) as name:
            connection.settings_dict["NAME"] = name
            try:
                yield
            finally:
                connection.close()
                connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has one
        return
    with working_folder(settings.data_path, _REHEARSAL) as folder:
        # changing a table writes it anew beside the old one
        check_space(folder, 3 * size_of(settings.sqlite_path))
        copy = folder / "mailward.sqlite3"
        copy_sqlite(settings.sqlite_path, copy)
        connection.settings_dict["NAME"] = copy
        try:
            yield
        finally:
            connection.close()
