"""Results that no run has given, for what is made of results."""

from mailward.lab.evidence import Act, Fate, Outcome, Step
from mailward.lab.expected import expected
from mailward.lab.experiment import Result, Tried
from mailward.lab.scenarios import Cell, cells

HOSTILE = '<script src="https://evil.example/x.js"></script> \x1b[31m'


def act(status: str = "sent", *, readable: bool = False, stolen: bool = False, arrived: bool = True) -> Act:
    steps = (Step("wire", f"S: 220 {HOSTILE}"), Step("sender", "tells Postfix (sts-enforce): OK"))
    return Act(status, "250 Ok", readable, stolen, arrived, steps)


def tried(cell: Cell, fate: Fate, *, is_intercepted: bool, reported: tuple[str, ...] = ()) -> Tried:
    outcome = Outcome(fate, is_intercepted, reported, has_report=bool(reported))
    waits = fate is Fate.REFUSED
    attack = act("deferred" if waits else "sent", stolen=is_intercepted, arrived=not waits)
    return Tried(cell, None, attack, act() if waits else None, (), (), outcome)


def as_expected() -> Result:
    table = expected()
    return Result(
        "3.10.13",
        tuple(
            tried(cell, wanted.fate, is_intercepted=wanted.is_intercepted, reported=tuple(wanted.signalled))
            for cell in cells()
            for wanted in [table[cell.scenario.name, cell.protection]]
        ),
        12.0,
    )
