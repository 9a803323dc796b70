"""Results that no run has given, for what is made of results."""

from mailward.lab.evidence import Act, Fate, Outcome, Step
from mailward.lab.expected import expected, expected_problems
from mailward.lab.experiment import Result, Tried
from mailward.lab.scenarios import Cell, cells

HOSTILE = '<script src="https://evil.example/x.js"></script> \x1b[31m'


def act(status: str = "sent", *, readable: bool = False, stolen: bool = False, arrived: bool = True) -> Act:
    steps = (Step("wire", f"S: 220 {HOSTILE}"), Step("sender", "tells Postfix (sts-enforce): OK"))
    return Act(status, "250 Ok", readable, stolen, arrived, steps)


def tried(cell: Cell, fate: Fate, *, is_intercepted: bool) -> Tried:
    return tried_as(cell, Outcome(fate, is_intercepted, (), has_report=False))


def tried_as(cell: Cell, outcome: Outcome) -> Tried:
    waits = outcome.fate is Fate.REFUSED
    attack = act("deferred" if waits else "sent", stolen=outcome.is_intercepted, arrived=not waits)
    problems = expected_problems(cell, outcome)
    return Tried(cell, None, attack, act() if waits else None, (), problems, outcome)


def as_expected() -> Result:
    table = expected()
    every = [tried_as(cell, table[cell.scenario.name, cell.protection]) for cell in cells()]
    return Result("3.10.13", tuple(every), 12.0)
