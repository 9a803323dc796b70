"""`mailward restore`: from a backup to an installation that goes on where it was."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mailward.backup import BackupFault, postgresql
from mailward.backup.age import Opener
from mailward.backup.archive import opened
from mailward.backup.making import check_space, working_folder
from mailward.backup.manifest import DUMP, SQLITE, Manifest
from mailward.backup.restoring import (
    RESTORED_SETTINGS,
    Staging,
    check_folder,
    give_to_owner,
    mark_unfinished,
    move_aside,
    put_in_place,
    unfinished,
    unfinished_mark,
)
from mailward.backup.sqlitecopy import check_sqlite
from mailward.cli.backup import PassphraseOption
from mailward.cli.backup_verify import IdentityOption, describe, make_opener
from mailward.cli.children import set_up_django
from mailward.cli.installation import ConfigOption, load_named
from mailward.cli.problem import Problem
from mailward.cli.serve import locked
from mailward.config import Settings
from mailward.net import clock

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_RESTORING = ".restore-"


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    data: Annotated[
        Path | None, typer.Option(help="The data folder, which must be empty.", envvar="MAILWARD_DATA")
    ] = None,
    config: ConfigOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move what is in the data folder aside, into a folder in it.")
    ] = False,
) -> None:
    """Bring a backup back into an empty data folder, and the PostgreSQL database of the settings where it is of one.

    All of it is checked first. Never start the machine that it was made on again: docs/backup.md says why.
    """
    settings = load_named(config, data)
    try:
        opener = make_opener(identity, passphrase_file)
        with locked(settings.data_path):
            # what lies there after one that was cut short is half of it, or was to be moved then
            check_folder(settings.data_path, may_replace=replace or bool(unfinished(settings.data_path)))
            manifest = _bring_back(settings, file, opener)
    except BackupFault as error:
        raise Problem(f"{_how_far(settings)}: {error}.") from error
    except OSError as error:
        where = error.filename or file
        raise Problem(f"{_how_far(settings)}: {where}: {error.strerror or error}.") from error
    typer.echo(describe(manifest))
    typer.echo(f"Restored to {settings.data_path}. Start mailward serve with the same settings.")
    if (settings.data_path / RESTORED_SETTINGS).exists():
        typer.echo(f"The settings file of then is {settings.data_path / RESTORED_SETTINGS}.")


def _how_far(settings: Settings) -> str:
    """The beginning of a sentence about what went wrong."""
    if os.path.lexists(unfinished_mark(settings.data_path)):
        return "Not all was restored, and the same command goes on"
    return "Nothing was restored"


def _bring_back(settings: Settings, file: Path, opener: Opener) -> Manifest:
    data = settings.data_path
    with (
        file.open("rb") as source,
        opened(source, opener) as (manifest, members),
        working_folder(data, _RESTORING) as folder,
    ):
        _check_manifest(settings, manifest)
        check_space(data, manifest.size)
        staging = Staging(folder)
        members.check(staging.open)
        if SQLITE in staging.files:
            check_sqlite(staging.files[SQLITE])
        if DUMP in staging.files and not _is_loaded(settings, manifest):
            _load(settings, manifest, staging.files[DUMP])
        if SQLITE in staging.files:
            # who starts on the half of it makes an empty database
            mark_unfinished(data, _hash_of(manifest, SQLITE))
        if aside := move_aside(data, clock.now()):
            typer.echo(f"What was there is now in {aside}.")
        database = staging.files.pop(SQLITE, None)
        put_in_place(staging.files, data)
        if manifest.database:
            _go_on(database)
        if database is not None:
            # last, when it is up to date
            put_in_place({SQLITE: database}, data)
    give_to_owner(data)
    unfinished_mark(data).unlink(missing_ok=True)
    return manifest


def _is_loaded(settings: Settings, manifest: Manifest) -> bool:
    """Whether an earlier run, which was cut short, has brought this dump in. Raises BackupFault for other tables."""
    database = settings.database
    if postgresql.is_empty(postgresql.access_of(settings)):
        return False
    if unfinished(settings.data_path) == _hash_of(manifest, DUMP):
        return True
    name, owner = shlex.quote(database.name), shlex.quote(database.user or _user_of(settings.data_path))
    raise BackupFault(
        f"the PostgreSQL database {database.name} is not empty, and --replace is about the data folder alone. Where "
        f"nobody needs what is in it, stop all of Mailward and, as postgres: dropdb {name} && createdb "
        f"--owner={owner} {name}"
    )


def _user_of(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:  # a number without a name, as in containers
        return str(folder.stat().st_uid)


def _load(settings: Settings, manifest: Manifest, dump: Path) -> None:
    """Whole or not at all; what is in the data folder stays where it is if not. Raises BackupFault."""
    access = postgresql.access_of(settings)
    mark_unfinished(settings.data_path, _hash_of(manifest, DUMP))
    try:
        postgresql.load(access, dump)
    except BackupFault:
        with suppress(BackupFault):  # a server that went away may have it all
            if postgresql.is_empty(access):
                unfinished_mark(settings.data_path).unlink()
        raise


def _hash_of(manifest: Manifest, name: str) -> str:
    return next(part.sha256 for part in manifest.parts if part.name == name)


def _check_manifest(settings: Settings, manifest: Manifest) -> None:
    """Before anything is written: that these settings and this release can go on with it. Raises BackupFault."""
    there = "postgresql" if settings.database.name else "sqlite"
    if manifest.database == "sqlite" and there == "postgresql":
        raise BackupFault(
            "it holds an SQLite database, and the settings name one of PostgreSQL; restore it without [database], then "
            "take it over: mailward database copy"
        )
    if manifest.database == "postgresql":
        if there == "sqlite":
            raise BackupFault("it holds a PostgreSQL database, and the settings name none: [database] name")
        _is_loaded(settings, manifest)
    if manifest.database and (newer := _unknown(manifest)):
        raise BackupFault(
            f"it was made by a newer Mailward ({manifest.mailward}, {newer}); restore it with that release"
        )


def _unknown(manifest: Manifest) -> str:
    """A migration of ours that this release does not have."""
    import mailward.store.migrations

    folder = Path(mailward.store.migrations.__path__[0])
    known = {f"store.{path.stem}" for path in folder.glob("*.py")}
    return max(
        (name for name in manifest.migrations if name.startswith("store.") and name not in known), default=""
    )


def _go_on(file: Path | None) -> None:
    """Tables of an older release are brought up to this one; and what must not run backwards is put forward.

    `file`: SQLite's, not yet in its place.
    """
    set_up_django()
    from django.db import connection

    from mailward.cli.tables import database_errors, make_tables
    from mailward.store.services.restoring import put_forward

    if file is not None:
        connection.settings_dict["NAME"] = file
    make_tables()
    with database_errors():
        put_forward()
    connection.close()
