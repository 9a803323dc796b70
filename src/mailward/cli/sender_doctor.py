"""`mailward sender doctor`: what keeps Postfix and us from working together, and what exactly to change."""

import asyncio
import json
from typing import Annotated

import typer

from mailward.cli.sender import Config, printable
from mailward.config import Settings, load_settings
from mailward.core.postfix.checkup import Grade
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.doctor import Section, look

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_MARKS = {Grade.GOOD: "ok", Grade.ADVICE: "note", Grade.PROBLEM: "PROBLEM"}


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
        for line in _json_lines(section) if as_json else _lines(section):
            typer.echo(line)
    return sections


def _lines(section: Section) -> list[str]:
    lines = [section.title]
    for finding in section.findings:
        lines.append(printable(f"  {_MARKS[finding.grade]:<8}{finding.text}"))
        if finding.fix:
            lines.append(printable(f"          -> {finding.fix}"))
    return [*lines, ""]


def _json_lines(section: Section) -> list[str]:
    return [
        json.dumps(
            {
                "section": section.title,
                "grade": finding.grade,
                "code": finding.code,
                "text": finding.text,
                "fix": finding.fix,
            }
        )
        for finding in section.findings
    ]
