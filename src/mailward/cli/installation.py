"""The installation whose database a command works on."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mailward.cli.children import set_up_django
from mailward.cli.problem import Problem
from mailward.config import Settings, load_settings

ConfigOption = Annotated[
    Path | None, typer.Option(help="The settings, a TOML file.", envvar="MAILWARD_CONFIG")
]
DataOption = Annotated[Path | None, typer.Option(help="The folder of the database.", envvar="MAILWARD_DATA")]


def load_named(config: Path | None, data: Path | None) -> Settings:
    """The settings of the installation that the options name, for Django and for child processes too.

    Raises SettingsError, and Problem where this user may not look into the data folder.
    """
    if config is not None:
        os.environ["MAILWARD_CONFIG"] = str(config.absolute())
    if data is not None:
        os.environ["MAILWARD_DATA"] = str(data.absolute())
    settings = load_settings(config)
    _check_user(settings.data_path)
    return settings


def _check_user(folder: Path) -> None:
    try:
        if not folder.is_dir() or os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            return
    except PermissionError:  # of a folder above it
        raise Problem(
            f"This user may not reach the data folder {folder}. Run it as root, or as Mailward's user."
        ) from None
    try:
        owner = folder.owner()
    except KeyError:  # a number without a name, as in containers
        owner = f"#{folder.stat().st_uid}"
    raise Problem(
        f"This user may not look into the data folder {folder}. Run it as root, or as its user: "
        f"runuser -u {owner} -- mailward ..."
    )


def open_installation(config: Path | None, data: Path | None) -> None:
    """Set Django up for that database. Raises Problem where there is none, and SettingsError."""
    import django  # noqa: F401 - a bare installation is told so first

    # before Django's settings, which make a folder and a key where there is none yet
    settings = load_named(config, data)
    if not settings.database.name and not settings.sqlite_path.exists():
        raise Problem(f"{settings.data_path} holds no Mailward database. Start mailward serve once.")
    set_up_django()
    from mailward.cli.tables import require_tables

    require_tables()
