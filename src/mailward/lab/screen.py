"""The lab in the terminal: each step as it is taken, what each party saw, and the table."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailward.lab.evidence import Act
from mailward.lab.expected import compare
from mailward.lab.experiment import Result, Tried
from mailward.lab.scenarios import Protection
from mailward.lab.telling import (
    Tone,
    by_scenario,
    grouped,
    lessons,
    say,
    say_afterwards,
    say_comparison,
    say_told,
)
from mailward.render.visible import make_visible

_STYLES = {Tone.GOOD: "green", Tone.BAD: "bold red", Tone.WAITS: "yellow"}
_WIDE = 140  # columns; the longest result type has 25 letters
_PARTIES = {
    "wire": "On the wire",
    "sender": "The sender",
    "attacker": "The attacker",
    "receiver": "The receiver",
}


def print_story(result: Result, console: Console) -> None:
    """What each party saw, scenario by scenario."""
    for scenario, tries in by_scenario(result):
        console.print()
        console.rule(Text(scenario.title, "bold"), align="left")
        console.print(Text(scenario.story))
        for tried in tries:
            _print_cell(tried, console)


def _print_cell(tried: Tried, console: Console) -> None:
    said = say(tried)
    console.print()
    title = Text(f"{tried.cell.protection.words} ", "bold").append(f"({tried.cell.domain})", "dim")
    console.print(title)
    if tried.before is not None:
        console.print(
            Text("  Some time before, a first mail is delivered, and what is published is learned.")
        )
    _print_act(tried.attack, console)
    if ending := say_afterwards(tried):
        console.print(Text(f"  {ending}"))
    if told := say_told(tried):
        console.print(Text("  The platform, the next day", "cyan"))
        for line in told:
            console.print(Text(f"    {make_visible(line)}"), overflow="fold")
    console.print(Text("  => ").append(said.text, _STYLES[said.tone]).append(f"; {said.reported}"))


def _print_act(act: Act, console: Console) -> None:
    for party, lines in grouped(act.steps):
        console.print(Text(f"  {_PARTIES[party]}", "cyan"))
        for line in lines:
            console.print(Text(f"    {make_visible(line)}"), overflow="fold")


def print_table(result: Result, console: Console) -> None:
    """What became of each; below one another where side by side the words would be broken."""
    (_print_wide if console.width >= _WIDE else _print_narrow)(result, console)


def _print_narrow(result: Result, console: Console) -> None:
    for scenario, tries in by_scenario(result):
        console.print()
        console.print(Text(scenario.title, "bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for tried in tries:
            said = say(tried)
            text = Text(said.text, _STYLES[said.tone]).append(f"; {said.reported}", "not bold default")
            table.add_row(f"  {tried.cell.protection.words}", text)
        console.print(table)
    console.print()


def _print_wide(result: Result, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, show_lines=True)
    table.add_column("", ratio=5)
    for protection in Protection:
        table.add_column(protection.words, ratio=4, overflow="fold")
    for scenario, tries in by_scenario(result):
        row = [Text(scenario.title)]
        for tried in tries:
            said = say(tried)
            row.append(Text(said.text, _STYLES[said.tone]).append(f"\n{said.reported}", "dim"))
        table.add_row(*row)
    console.print(table)


def print_ending(result: Result, console: Console) -> None:
    for lesson in lessons(result):
        console.print(Text(f"{lesson.title} ", "bold").append(lesson.text))
    console.print()
    differences = compare(result)
    comparison = say_comparison(differences, len(result.tried))
    console.print(Text(f"{comparison} {result.seconds:.0f} s, Postfix {result.version}.", "bold"))
    for each in differences:
        console.print(Text(f"  {each.cell}: expected {each.expected}; found {each.found}", "bold red"))
