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

    Raises SettingsError.
    """
    if config is not None:
        os.environ["MAILWARD_CONFIG"] = str(config.absolute())
    if data is not None:
        os.environ["MAILWARD_DATA"] = str(data.absolute())
    return load_settings(config)


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
