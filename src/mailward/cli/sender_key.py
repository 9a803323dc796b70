"""`mailward sender key`: the DKIM key of report mail, and the record that must be published for it."""

from typing import Annotated

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config
from mailward.config import load_settings
from mailward.sender.dkimkeys import KeyFileError, load_key, make_key, record_of, zone_line
from mailward.sender.letters import ContactUnusable, make_reporter

app = typer.Typer(name="key", no_args_is_help=True)


@app.command()
def key(
    selector: Annotated[str, typer.Argument(help="The name of the key, such as tlsrpt2026.")],
    kind: Annotated[str, typer.Option("--type", help="rsa (2048 bits) or ed25519.")] = "rsa",
    show: Annotated[
        bool, typer.Option("--show", help="Only print the record of a key that is there.")
    ] = False,
    config: Config = None,
) -> None:
    """Make a key that signs report mail, and print the TXT record to publish before it is used."""
    settings = load_settings(config)
    if kind not in ("rsa", "ed25519"):
        raise Problem(f"{kind!r} is no type of key: rsa or ed25519.")
    try:
        reporter = make_reporter(settings)
        found = (
            load_key(settings.data_path, selector) if show else make_key(settings.data_path, selector, kind)
        )
    except (ContactUnusable, KeyFileError) as error:
        raise Problem(str(error)) from error
    typer.echo(f"Publish this TXT record at {selector}._domainkey.{reporter.submitter}:\n")
    typer.echo(f"{record_of(found)}\n")
    typer.echo(f"For a zone file:\n\n{zone_line(reporter.submitter, selector, found)}\n")
    if selector not in settings.tlsrpt.dkim_selectors:
        typer.echo(f'When it can be looked up, sign with it: [tlsrpt] dkim_selectors = ["{selector}"]')
