"""`mailward domains update-dns`: a domain's records at its own DNS server (RFC 2136), brought up to date now."""

import asyncio
from typing import Annotated

import typer

from mailward.cli.domain_argument import read_domain
from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem
from mailward.config import load_settings
from mailward.core.names import InvalidName
from mailward.render.visible import make_visible

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


@app.command("update-dns")
def update_dns(
    domain: Annotated[str, typer.Argument(help="Its records are kept at an own DNS server.")],
    is_check: Annotated[
        bool, typer.Option("--check", help="Tell what would be done, and do nothing.")
    ] = False,
    organisation: Annotated[str, typer.Option(help="Whose, where several have the domain.")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Write what has its place there, remove what has none any more, and tell what became of each record.

    Exit status 1: something was left alone, or failed.
    """
    try:
        name = read_domain(domain)
    except InvalidName as error:
        raise Problem(str(error)) from error
    open_installation(config, data)
    from mailward.store.models import Domain
    from mailward.worker.updating import Outcome, bring_domain

    rows = Domain.objects.filter(name=name)
    if organisation:
        rows = rows.filter(organisation__name=organisation)
    ids = list(rows.values_list("pk", flat=True)[:2])
    if not ids:
        raise Problem(f"This installation does not have {name}.")
    if len(ids) > 1:
        raise Problem(f"Several organisations have {name}: say whose, with --organisation.")
    steps = asyncio.run(bring_domain(load_settings(config), ids[0], is_trial=is_check))
    if steps is None:
        raise Problem(f"No own DNS server of the organisation has a zone that {name} is in.")
    for step in steps:
        detail = f": {make_visible(step.detail)}" if step.detail else ""
        record = f"{step.name} {step.rdtype} " if step.name else "The records "
        typer.echo(f"{record}{step.outcome}{detail}")
    if any(step.outcome in (Outcome.FOREIGN, Outcome.FAILED) for step in steps):
        raise typer.Exit(1)
