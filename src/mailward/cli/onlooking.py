"""Django for commands that look at an installation and change nothing: they write no file, whoever runs them."""

import logging
import os
from pathlib import Path
from typing import Any

from mailward.config import Settings, load_settings
from mailward.doctor.process import read_environment
from mailward.net.ownership import become, owner_for_root

_WAIT_SECONDS = 2


def load_for_looking(config: Path | None, data: Path | None) -> Settings:
    """The settings, and Django set up for them, as small as it goes. Raises SettingsError."""
    settings = read_settings_there(config, data)
    _set_up(settings)
    return settings


def read_settings_there(config: Path | None, data: Path | None) -> Settings:
    """As what runs there has them, seen with its eyes. Raises SettingsError."""
    environment = dict(os.environ)
    if data is not None:
        environment["MAILWARD_DATA"] = str(data.absolute())
    folder = load_settings(config, environment).data_path
    # what its unit or its container says in the environment holds for those who look at it too
    environment = read_environment(folder) | environment | {"MAILWARD_DATA": str(folder)}
    config = config or (Path(environment["MAILWARD_CONFIG"]) if "MAILWARD_CONFIG" in environment else None)
    settings = load_settings(config, environment)
    # root sees with the eyes of the service's user: files, ports that are left to the user, PostgreSQL's peer
    if (owner := owner_for_root(settings.data_path)) is not None:
        become(owner)
    return settings


def why_no_database(settings: Settings) -> str:
    """Why it cannot be asked, as far as the file shows; empty: it may answer."""
    if settings.database.name:
        return ""
    path = settings.sqlite_path
    try:
        path.stat()
    except FileNotFoundError:
        return "the database is not there yet"
    except PermissionError:
        return f"this user may not read {path}"
    return "" if os.access(path, os.R_OK) else f"this user may not read {path}"


def _set_up(settings: Settings) -> None:
    import django
    from django.conf import settings as of_django

    if of_django.configured:
        return
    # not those of mailward.web: they make a folder and a key, and load the whole console
    of_django.configure(
        DATABASES={"default": _describe(settings)},
        INSTALLED_APPS=["mailward.store", "django.contrib.auth", "django.contrib.contenttypes"],
        AUTH_USER_MODEL="store.User",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    # the command tells itself why there is no connection
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


def _describe(settings: Settings) -> dict[str, Any]:  # Django's own shape
    from mailward.web import databases

    if settings.database.name:
        return databases.describe(settings)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        # read-only: nothing is made, not even by root, that the service could not write afterwards
        "NAME": f"{settings.sqlite_path.as_uri()}?mode=ro",
        "OPTIONS": {"uri": True, "timeout": _WAIT_SECONDS},
    }
