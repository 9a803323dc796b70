"""What must be there before the children start: tables, the console's files, the development authority.

A process of its own, so that the supervisor stays small. It runs at every start; when there is nothing to do
it takes a moment.
"""

import json
from functools import partial

from django.db import Error as DatabaseError

from mailward.cli.migrating import back_up_first, clear_rehearsals
from mailward.cli.problem import Problem
from mailward.cli.tables import database_errors, make_tables, unusable
from mailward.config import Settings
from mailward.net.authority import AuthorityUnusable, load_authority
from mailward.net.certificates import authority_folder
from mailward.net.sealing import Unopenable, load_keyring
from mailward.store.left_behind import is_left_behind, tell_left_behind
from mailward.store.services.accounts import first_administrator_link
from mailward.store.services.resealing import open_one
from mailward.web.console import gather_static


def prepare(settings: Settings) -> str:
    """Do what is missing; JSON with `start_token` (None once somebody has an account). Raises Problem."""
    with database_errors():
        refuse_left_behind(settings)
    make_tables(partial(back_up_first, settings))
    clear_rehearsals(settings)
    try:
        token = first_administrator_link()
    except DatabaseError as error:
        raise unusable(error) from error
    # before anybody seals or opens: policy host and worker start at the same moment
    _check_key(settings)
    # before the console starts: it looks once which files there are
    gather_static(settings.data_path / "static")
    if settings.has_development_ca:
        try:
            load_authority(authority_folder(settings))
        except AuthorityUnusable as error:
            raise Problem(str(error)) from error
    return json.dumps({"start_token": token})


def refuse_left_behind(settings: Settings) -> None:
    """Raises Problem, and django.db.Error."""
    if is_left_behind(settings):
        what, fix = tell_left_behind(settings)
        raise Problem(f"Not started: {what}. What was served would be gone: {fix}.")


def _check_key(settings: Settings) -> None:
    """A node with a key of its own would neither serve nor renew what the others have ordered."""
    try:
        keyring = load_keyring(settings)
    except OSError as error:
        raise Problem(f"The key that seals private keys cannot be read: {error}.") from error
    try:
        open_one(keyring)
    except Unopenable as error:
        raise Problem(
            f"The private keys in the database do not open: {error}. Give this node the key of the others or of the "
            "backup (MAILWARD_KEY_FILE, or key in the data folder). Where it is lost: mailward key forget"
        ) from error
