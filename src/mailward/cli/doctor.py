"""`mailward doctor`: what is wrong with the installation and around it, and what exactly to change."""

import asyncio
from typing import Annotated

import typer

from mailward.cli.installation import ConfigOption, DataOption
from mailward.cli.onlooking import load_for_looking, why_no_database
from mailward.cli.problem import Problem
from mailward.config import Settings
from mailward.core.doctor.catalogue import TOPICS
from mailward.core.doctor.finding import Grade, Section
from mailward.render.findings import write_json, write_lines

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def doctor(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"One check; again for more: {', '.join(TOPICS)}."),
    ] = None,
    send: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Send a real mail there, and say what the relay answers.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Look at ports, DNS, certificates, relay, disk, database and settings; say exactly what to change.

    Works while Mailward or its database is down, and changes nothing. What cannot be seen from this machine is said
    to be so, and is no problem. Run it as root or as the user of Mailward. Exit status: 0 no problems, 1 some, 2
    nothing could be done. docs/doctor.md explains every finding.
    """
    unknown = set(only or ()) - set(TOPICS)
    if unknown:
        raise Problem(f"There is no check {min(unknown)!r}. There are: {', '.join(TOPICS)}.")
    if only and send and "relay" not in only:
        raise Problem("--send is about the relay: leave --only away, or name relay too.")
    settings = load_for_looking(config, data)
    sections = asyncio.run(_look(settings, only or [], send, as_json=as_json))
    if any(finding.grade is Grade.PROBLEM for section in sections for finding in section.findings):
        raise typer.Exit(1)


async def _look(settings: Settings, only: list[str], send: str, *, as_json: bool) -> list[Section]:
    from mailward.doctor.look import look
    from mailward.doctor.subject import Subject
    from mailward.net.resolver import make_resolver

    subject = Subject(settings, make_resolver(settings.dns), why_no_database(settings), send)
    sections = []
    async for section in look(subject, only):
        sections.append(section)
        for line in write_json(section) if as_json else write_lines(section):
            typer.echo(line)
    if not as_json:
        typer.echo(_sum_up(sections))
    return sections


def _sum_up(sections: list[Section]) -> str:
    grades = [finding.grade for section in sections for finding in section.findings]
    counts = (
        (grades.count(Grade.PROBLEM), "problem", "problems"),
        (grades.count(Grade.ADVICE), "note", "notes"),
        (grades.count(Grade.UNSEEN), "not seen from here", "not seen from here"),
    )
    told = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    return ", ".join(told) or "Everything is as it should be."
