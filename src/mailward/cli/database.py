"""`mailward database`: `copy` takes what is in SQLite to PostgreSQL, `migrate` changes the tables, or tries that."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mailward.cli.children import set_up_django
from mailward.cli.installation import ConfigOption, DataOption, load_named
from mailward.cli.problem import Problem
from mailward.cli.serve import locked

app = typer.Typer(
    name="database",
    help="The database of this installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_SOURCE = "source"


@app.callback()
def group() -> None:
    """The database of this installation."""


@app.command("copy")
def copy(
    config: ConfigOption = None,
    data: DataOption = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="The SQLite file; without it, that of the data folder.")
    ] = None,
) -> None:
    """Copy everything from SQLite to the PostgreSQL database that the settings name; it must be empty.

    Stop Mailward first. The SQLite file stays as it is.
    """
    settings = load_named(config, data)
    if not settings.database.name:
        raise Problem("The settings name no PostgreSQL database to copy to: [database] name.")
    path = (source or settings.sqlite_path).absolute()
    if not path.exists():
        raise Problem(f"There is no SQLite database {path}.")
    with ExitStack() as stack:
        stack.enter_context(locked(settings.data_path))
        if (path.parent / "lock").exists() and path.parent.resolve() != settings.data_path.resolve():
            # a data folder too: what is stored there while this runs would be lost
            stack.enter_context(locked(path.parent))
        set_up_django()
        _copy(path)


@app.command("migrate")
def migrate(
    config: ConfigOption = None,
    data: DataOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only try it, on a copy; Mailward may run meanwhile.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(help="The release that the tables shall fit, to step back to; without it, this one."),
    ] = None,
) -> None:
    """Change the tables to what this release needs, after a backup. Starting Mailward does the same.

    Stop Mailward first, on all nodes. With --to the tables go back to those of an earlier release; start that one then.
    """
    settings = load_named(config, data)
    if not settings.database.name and not settings.sqlite_path.exists():
        raise Problem(f"{settings.data_path} holds no Mailward database.")
    set_up_django()
    from mailward.cli.migrating import migrate_now, rehearse

    if dry_run:
        rehearse(settings, to)
        return
    with locked(settings.data_path):
        migrate_now(settings, to)


def _copy(path: Path) -> None:
    from django.db import Error as DatabaseError
    from django.db import connections
    from django.db.migrations.recorder import MigrationRecorder

    from mailward.cli.tables import make_tables, unusable
    from mailward.store.copying import Incomplete, NotEmpty, copy_all

    connections.databases[_SOURCE] = connections.databases["default"] | {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {"timeout": 5},
    }
    make_tables()
    try:
        there, here = (
            set(MigrationRecorder(connections[name]).applied_migrations()) for name in (_SOURCE, "default")
        )
        if there != here:
            raise Problem(
                f"{path} has the tables of another version of Mailward. Take [database] out of the settings once: "
                "mailward database migrate; then name it again, and copy."
            )
        total = copy_all(_SOURCE, "default", lambda table, rows: typer.echo(f"{rows:>10}  {table}"))
    except NotEmpty:
        raise Problem("The PostgreSQL database is in use already: it has people or domains.") from None
    except Incomplete as error:
        raise Problem(f"Nothing was copied: {error}. Is something else writing?") from error
    except DatabaseError as error:
        raise unusable(error) from error
    typer.echo(f"{total:>10}  rows copied. Start mailward serve with the same settings.")
