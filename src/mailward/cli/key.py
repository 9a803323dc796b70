"""`mailward key new`, `rotate` and `forget`: the key that seals private keys in the database."""

from pathlib import Path

import typer

from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem
from mailward.config import Settings, load_settings
from mailward.net.durable import sync_folder
from mailward.net.sealing import KEY_FILE, Unopenable, load_keyring, make_key, write_key_file

app = typer.Typer(
    name="key",
    help="The key that seals private keys in the database.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def new() -> None:
    """Print a new key, for MAILWARD_KEY_FILE of every node."""
    typer.echo(make_key())


@app.command()
def rotate(config: ConfigOption = None, data: DataOption = None) -> None:
    """Seal all private keys anew: with a new key in <data>/key, or with the first of the settings' keys.

    Where the key is in <data>/key of the only node, a new one is made and the one before is kept behind it. Where
    there are several nodes, or the settings name the keys, put a new one in front of the old on every node, then run
    this once; after that the old one can go. Keys that the settings name are read at a start. Everything goes on
    working meanwhile.
    """
    open_installation(config, data)
    settings = load_settings(config)
    path = settings.data_path / KEY_FILE
    if not settings.key and _has_other_nodes(settings):
        _refuse_what_they_do_not_open(settings, path)
    elif not settings.key:
        # all that were there: an earlier run may have ended before everything was sealed anew
        _write(path, [make_key(), *_read(path)])
    from mailward.store.services.resealing import reseal

    try:
        count = reseal(load_keyring(settings))
    except Unopenable as error:
        raise Problem(
            f"A private key in the database cannot be opened: {error}. Nothing was lost."
        ) from error
    if not settings.key:
        _write(path, _read(path)[:2])
    typer.echo(f"{count} private key{'' if count == 1 else 's'} sealed anew.")


@app.command()
def forget(config: ConfigOption = None, data: DataOption = None) -> None:
    """Remove certificates and accounts whose private keys no key opens any more: they are ordered anew.

    Only where the key is lost for good.
    """
    open_installation(config, data)
    from mailward.store.services.resealing import forget_unopenable

    count = forget_unopenable(load_keyring(load_settings(config)))
    typer.echo(f"{count} private key{'' if count == 1 else 's'} forgotten.")


def _has_other_nodes(settings: Settings) -> bool:
    if not settings.database.name:
        return False
    from mailward.store.queries.engine import postgresql

    # a pooler is an address too
    machines = postgresql().machines - bool(settings.database.direct_host)
    return max(machines, len(settings.policy_host.nodes)) > 1


def _refuse_what_they_do_not_open(settings: Settings, path: Path) -> None:
    """A key that this node alone had would end every certificate of the others at once."""
    from mailward.store.services.resealing import is_done

    if is_done(load_keyring(settings)):
        raise Problem(
            "Other nodes have this database, and would serve no certificate that a key seals which they lack. Put a "
            f"new key (mailward key new) in front of the old one in {path}, and the same in that file of every node; "
            "then run this again. No restart is needed."
        )


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, keys: list[str]) -> None:
    """Whole or not at all: whoever looks finds a key that opens everything."""
    try:
        write_key_file(path.with_name(f".{path.name}.new"), keys).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}.") from error
