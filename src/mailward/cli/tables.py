"""The tables of the database: there, ours, of this version; made once, whoever starts first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from mailward.cli.problem import Problem
from mailward.store.aio import disconnect

_LOCK = 0x6D61696C77617264
"""PostgreSQL's advisory locks are numbers; this one reads "mailward"."""


Plan = list[tuple[Migration, bool]]
"""Django's: each migration, and whether it is undone."""


def make_tables(before_change: Callable[[Plan], None] | None = None) -> None:
    """Do what is missing. Nodes that start at the same time do it one after another.

    `before_change` is called where a database that is in use is about to change. Raises Problem.
    """
    with database_errors(), alone():
        executor = MigrationExecutor(connection)
        check_owner(executor)
        if plan := executor.migration_plan(executor.loader.graph.leaf_nodes()):
            if before_change is not None and in_use(executor):
                before_change(plan)
            call_command("migrate", interactive=False, verbosity=0)


def in_use(executor: MigrationExecutor) -> bool:
    """Whether there are tables of ours already."""
    return any(app == "store" for app, _ in executor.loader.applied_migrations)


def require_tables() -> None:
    """Raises Problem where the database is away, or is not one that this version works with."""
    with database_errors():
        executor = MigrationExecutor(connection)
        check_owner(executor)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise Problem(f"{_named()} lacks tables of this version. Start mailward serve, or restart it.")


def check_owner(executor: MigrationExecutor) -> None:
    """Raises Problem for a database of somebody else's, or of a newer release."""
    with connection.cursor() as cursor:
        found = connection.introspection.table_names(cursor)
    if found and "django_migrations" not in found:
        raise Problem(
            f"{_named()} holds tables that are not Mailward's, such as {found[0]}. Name an empty one."
        )
    unknown = {key for key in executor.loader.applied_migrations if key[0] == "store"} - set(
        executor.loader.disk_migrations
    )
    if unknown:
        raise Problem(f"{_named()} was changed by a newer Mailward ({max(unknown)[1]}). Start that version.")


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else changes the tables meanwhile. Raises Problem where that cannot be held."""
    if connection.vendor != "postgresql":
        yield  # its writers wait for each other, and there is one machine
        return
    from mailward.store.postgresql import is_shared, past_pooler, wait_for_ever

    with past_pooler():
        if is_shared():
            raise Problem(
                f"{_named()} is behind a pooler in transaction mode, through which neither NOTIFY nor the lock for "
                "changes of the tables works. Set its pool_mode to session, or name the server itself in "
                "database.direct_host."
            )
        wait_for_ever()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            yield
        finally:
            # ends the lock too, even where the connection has broken
            disconnect()


@contextmanager
def database_errors() -> Iterator[None]:
    """As Problem."""
    try:
        if connection.vendor == "postgresql":
            from mailward.store.postgresql import reach

            reach()
        yield
    except DatabaseError as error:
        raise unusable(error) from error


def unusable(error: DatabaseError) -> Problem:
    reason = " ".join(str(error).split()).rstrip(".")
    return Problem(f"{_named()} cannot be used: {reason}.")


def _named() -> str:
    described = connection.settings_dict
    if connection.vendor != "postgresql":
        return f"The database {described['NAME']}"
    return f"The PostgreSQL database {described['NAME']} at {described['HOST'] or 'the local socket'}"
