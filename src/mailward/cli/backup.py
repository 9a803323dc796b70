"""`mailward backup`: everything of this installation in one file, while it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mailward.backup import BackupFault
from mailward.backup.age import Lock
from mailward.backup.making import make_backup, stream_backup
from mailward.backup.manifest import Manifest
from mailward.backup.rotation import NotRemoved, new_name, remove_old
from mailward.backup.seal import chosen_lock
from mailward.cli.installation import ConfigOption, DataOption, load_named
from mailward.cli.problem import Problem
from mailward.config import Settings
from mailward.net import clock
from mailward.net.ownership import give_file_away, make_folder, owner_for_root

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

PassphraseOption = Annotated[
    Path | None,
    typer.Option(help="A file whose first line is the passphrase.", envvar="MAILWARD_BACKUP_PASSPHRASE_FILE"),
]


@app.command()
def backup(
    file: Annotated[
        str,
        typer.Argument(
            help="The new file, a folder for it, or - for standard output; else the folder of backups."
        ),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    recipient: Annotated[
        list[str] | None, typer.Option(help="Seal it for this key (age1...); several are possible.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="A file whose first line is the passphrase; else backup.passphrase_file."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="So many stay in the folder; the oldest go. Else backup.keep.")
    ] = None,
) -> None:
    """Write database, keys, settings file and the sender's databases into one file, while Mailward runs.

    It is read again before it gets its name. docs/backup.md says how to bring it back.
    """
    settings = load_named(config, data)
    try:
        lock = chosen_lock(settings.backup, recipient or (), passphrase_file)
        if file == "-":
            manifest = stream_backup(settings, config, sys.stdout.buffer, lock)
            _tell("standard output", manifest, lock)
        else:
            manifest = _into_file(settings, config, file, lock, keep)
    except BackupFault as error:
        raise Problem(f"No backup was made: {error}.") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Problem(f"No backup was made: {where}{error.strerror or error}.") from error
    if manifest.lacks_key:
        raise Problem(
            "The backup was made, but the private keys in its database open by no key that is at hand here. Name the "
            "one that the service has (MAILWARD_KEY_FILE, in /etc/mailward/environment for all units and commands: "
            "docs/settings.md), and keep a copy of it. Where it is lost: mailward key forget."
        )


def _into_file(settings: Settings, config: Path | None, file: str, lock: Lock, keep: int | None) -> Manifest:
    if not file:
        make_folder(settings.backup_path, owner_for_root(settings.data_path))
        keep = keep or settings.backup.keep
    named = Path(file).absolute() if file else settings.backup_path
    if not named.is_dir():
        if keep is not None:
            raise Problem(f"--keep is for a folder, and {named} is none.")
        manifest = make_backup(settings, config, named, lock)
        _tell(str(named), manifest, lock)
        return manifest
    path = new_name(named, clock.now(), sealed=bool(lock))
    manifest = make_backup(settings, config, path, lock)
    if not file:
        give_file_away(path)
    _tell(str(path), manifest, lock)
    if keep is None:
        return manifest
    try:
        for old in remove_old(path, keep):
            typer.echo(f"Removed: {old.name}", err=True)
    except NotRemoved as error:
        raise Problem(f"The backup was made, but {error}.") from error
    return manifest


def _tell(where: str, manifest: Manifest, lock: Lock) -> None:
    """On standard error: standard output may be the backup."""
    kind = "sealed " if lock else ""
    typer.echo(
        f"Backed up {len(manifest.parts)} parts, {manifest.size / 1e6:.1f} MB, {kind}into {where}", err=True
    )
    for sentence in manifest.absent:
        typer.echo(f"Not in it: {sentence}", err=True)
