"""`mailward domains records`: what domains of this installation should publish, as a zone file, CSV or plain text."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mailward.cli.domain_argument import read_domain
from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem
from mailward.config import load_settings
from mailward.core.names import InvalidName

app = typer.Typer(
    name="domains",
    help="Domains of this installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _group() -> None:
    """Domains of this installation."""


@app.command()
def records(
    domains: Annotated[list[str] | None, typer.Argument(help="Some of them; without, all.")] = None,
    form: Annotated[str, typer.Option("--format", help="zone, csv or text.", metavar="FORM")] = "zone",
    organisation: Annotated[str, typer.Option(help="Of this organisation alone.")] = "",
    only_open: Annotated[bool, typer.Option("--open", help="Without records that are right.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Print the records to publish; their state is that of the last check."""
    try:
        names = [read_domain(domain) for domain in domains or ()]
    except InvalidName as error:
        raise Problem(str(error)) from error
    open_installation(config, data)
    from mailward.monitor.writing import Form, write
    from mailward.store.models import Domain
    from mailward.worker.publishing import lines_of

    if form not in list(Form):
        raise Problem(f"--format is one of {', '.join(Form)}, and not {form[:50]!r}.")
    rows = Domain.objects.all()
    if organisation:
        rows = rows.filter(organisation__name=organisation)
    if names:
        rows = rows.filter(name__in=names)
        missing = set(names) - set(rows.values_list("name", flat=True))
        if missing:
            raise Problem(f"This installation does not have {', '.join(sorted(missing))}.")
    path = os.environ.get("MAILWARD_CONFIG")
    settings = load_settings(Path(path) if path else None)
    for piece in write(Form(form), lines_of(settings, rows, only_open=only_open)):
        typer.echo(piece, nl=False)
