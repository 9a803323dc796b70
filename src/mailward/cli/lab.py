"""`mailward lab`: what an attacker on the path does to mail, and how MTA-STS and DANE stop him."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mailward.cli.problem import Problem
from mailward.lab.scenarios import BY_NAME, SCENARIOS, Scenario, cells

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def lab(
    scenario: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this one; again for more. See --list.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the scenarios, and do nothing.")] = False,
    postfix: Annotated[str, typer.Option(help="Which Postfix sends: 3.10 or 3.7.")] = "3.10",
    steps: Annotated[
        bool | None,
        typer.Option("--steps/--no-steps", help="Tell what each party saw; else only for a single scenario."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write everything as a page that stands alone.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave captured packets (pcap) and logs there.")
    ] = None,
) -> None:
    """Attack mail between real servers in network namespaces, and show what became of it.

    A sending and a receiving Postfix, a signed DNS, this platform, and an attacker on the path between them. Each
    attack runs four ways: unprotected, MTA-STS testing, MTA-STS enforce, DANE. Nothing outside of the namespaces is
    touched. Exit status: 0 all as expected, 1 not all, 2 nothing could be done. docs/lab.md tells more.
    """
    if list_:
        for each in SCENARIOS:
            typer.echo(f"{each.name:<26}{each.title}")
        return
    if postfix not in ("3.7", "3.10"):
        raise Problem(f"--postfix {postfix}: it is 3.10 or 3.7.")
    chosen = tuple(_find(name) for name in scenario) if scenario else SCENARIOS
    with_steps = len(chosen) == 1 if steps is None else steps
    raise typer.Exit(_run(chosen, postfix, with_steps=with_steps, html=html, json=json, keep=keep))


def _find(name: str) -> Scenario:
    if name not in BY_NAME:
        raise Problem(f"There is no scenario {name!r}. They are: {', '.join(BY_NAME)}.")
    return BY_NAME[name]


def _run(
    chosen: tuple[Scenario, ...],
    postfix: str,
    *,
    with_steps: bool,
    html: Path | None,
    json: Path | None,
    keep: Path | None,
) -> int:
    from mailward.lab.expected import compare
    from mailward.lab.experiment import run_experiment
    from mailward.lab.faults import LabFault
    from mailward.lab.needs import enter_user_namespace, keep_trees_at_home, missing
    from mailward.lab.page import render_lab
    from mailward.lab.screen import print_ending, print_story, print_table
    from mailward.lab.site import SUITES
    from mailward.lab.telling import as_json

    suites = ("trixie", SUITES[postfix])
    keep_trees_at_home()
    if sentence := missing(suites):
        raise Problem(sentence)
    if os.geteuid() != 0:
        enter_user_namespace(suites, sys.argv[1:])
    console = Console(highlight=False)
    try:
        with console.status("") as status:

            def tell(step: str) -> None:
                status.update(f"{step} ...")
                if not console.is_terminal:
                    console.print(f"{step} ...")

            result = run_experiment(cells(chosen), postfix, tell, keep)
    except LabFault as fault:
        raise Problem(str(fault)) from fault
    if with_steps:
        print_story(result, console)
    print_table(result, console)
    print_ending(result, console)
    if html is not None:
        html.write_text(render_lab(result), encoding="utf-8")
    if json is not None:
        json.write_bytes(as_json(result))
    return 1 if compare(result) else 0
