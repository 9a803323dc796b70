"""What must be there before the children start: tables, the console's files, the development authority.

A process of its own, so that the supervisor stays small. It runs at every start; when there is nothing to do
it takes a moment.
"""

import json

from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from mailward.cli.problem import Problem
from mailward.config import Settings
from mailward.net.authority import AuthorityUnusable, load_authority
from mailward.net.certificates import authority_folder
from mailward.net.sealing import load_keyring
from mailward.store.services.accounts import first_administrator_link
from mailward.web.console import gather_static


def prepare(settings: Settings) -> str:
    """Do what is missing; JSON with `start_token` (None once somebody has an account). Raises Problem."""
    try:
        _migrate()
        token = first_administrator_link()
    except DatabaseError as error:
        raise Problem(f"The database {connection.settings_dict['NAME']} cannot be used: {error}.") from error
    # before anybody seals or opens: policy host and worker start at the same moment
    try:
        load_keyring(settings)
    except OSError as error:
        raise Problem(f"The key that seals private keys cannot be read: {error}.") from error
    # before the console starts: it looks once which files there are
    gather_static(settings.data_path / "static")
    if settings.certificates.development_ca:
        try:
            load_authority(authority_folder(settings))
        except AuthorityUnusable as error:
            raise Problem(str(error)) from error
    return json.dumps({"start_token": token})


def _migrate() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
