"""`mailward backup verify` and `mailward backup key`: whether a backup is whole, and who may open the next ones."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mailward.backup import BackupFault
from mailward.backup.age import Opener, make_identity, read_identities
from mailward.backup.archive import opened
from mailward.backup.making import check_space
from mailward.backup.manifest import DUMP, SQLITE, Manifest
from mailward.backup.postgresql import check_dump
from mailward.backup.restoring import Staging
from mailward.backup.seal import read_passphrase
from mailward.backup.sqlitecopy import check_sqlite
from mailward.cli.backup import PassphraseOption
from mailward.cli.problem import Problem

app = typer.Typer(
    name="backup",
    help="Backups of this installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
IdentityOption = Annotated[
    Path | None, typer.Option(help="A file with the key (AGE-SECRET-KEY-1...) that it is sealed for.")
]


@app.callback()
def group() -> None:
    """Backups of this installation."""


@app.command("key")
def key() -> None:
    """Print a new pair of keys: the first opens backups, the second goes into backup.recipients."""
    secret, recipient = make_identity()
    typer.echo(f"# recipient: {recipient}\n{secret}")


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    identity: IdentityOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Read all of it, compare every hash, look at its database, and print what it holds."""
    try:
        opener = make_opener(identity, passphrase_file)
        with tempfile.TemporaryDirectory(prefix="mailward-verify-") as folder, file.open("rb") as source:
            with opened(source, opener) as (manifest, members):
                check_space(Path(folder), _database_size(manifest))
                staging = Staging(Path(folder), only=(SQLITE, DUMP))
                members.check(staging.open)
            if SQLITE in staging.files:
                check_sqlite(staging.files[SQLITE])
            if DUMP in staging.files:
                check_dump(staging.files[DUMP])
    except BackupFault as error:
        raise Problem(f"{file} is no good backup: {error}.") from error
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror or error}.") from error
    typer.echo(describe(manifest))


def _database_size(manifest: Manifest) -> int:
    return sum(part.size for part in manifest.parts if part.name in (SQLITE, DUMP))


def make_opener(identity: Path | None, passphrase_file: Path | None) -> Opener:
    """Raises Problem."""
    try:
        identities = read_identities(identity.read_text(encoding="utf-8")) if identity else ()
    except OSError as error:
        raise Problem(f"{identity} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{identity} is no text in UTF-8, and no identity.") from error
    except BackupFault as error:
        raise Problem(f"{identity}: {error}.") from error
    try:
        return Opener(identities, read_passphrase(passphrase_file) if passphrase_file else "")
    except BackupFault as error:
        raise Problem(f"{error}.") from error


def describe(manifest: Manifest) -> str:
    """For people."""
    last = max((name for name in manifest.migrations if name.startswith("store.")), default="none")
    lines = [
        f"Made {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC on {manifest.host} by Mailward {manifest.mailward}",
        f"Database: {manifest.database or 'none'}, last migration {last.removeprefix('store.')}",
        *(f"{part.size:>15}  {part.name}" for part in manifest.parts),
        *(f"Not in it: {sentence}" for sentence in manifest.absent),
    ]
    # it may come from anywhere, and this is a terminal
    return "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines)
