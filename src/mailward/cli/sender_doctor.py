"""`mailward sender doctor`: what keeps Postfix and us from working together, and what exactly to change."""

import asyncio
from typing import Annotated

import typer

from mailward.cli.sender import Config
from mailward.config import Settings, load_settings
from mailward.core.doctor.finding import Grade, Section
from mailward.render.findings import write_json, write_lines
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.doctor import look

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def doctor(
    postfix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", help="Configuration folder of a Postfix; again for more. Else all of them."
        ),
    ] = None,
    postconf: Annotated[str, typer.Option(help="The program, where it is not in PATH.")] = "postconf",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """Look at Postfix's configuration, sockets, DNSSEC, clock and certificates; say exactly what to change.

    Changes nothing. Exit status: 0 no problems, 1 some, 2 nothing could be done.
    """
    settings = load_settings(config)
    sections = asyncio.run(_look(settings, postfix or [], postconf, as_json=as_json))
    if any(finding.grade is Grade.PROBLEM for section in sections for finding in section.findings):
        raise typer.Exit(1)


async def _look(settings: Settings, directories: list[str], postconf: str, *, as_json: bool) -> list[Section]:
    sections = []
    async for section in look(settings, make_sender_resolver(settings), directories, postconf):
        sections.append(section)
        for line in write_json(section) if as_json else write_lines(section):
            typer.echo(line)
    return sections
