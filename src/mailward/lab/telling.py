"""What came out, in words: for the terminal, for the page, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from mailward.lab.evidence import Act, Fate, Outcome, Step
from mailward.lab.expected import Difference, compare
from mailward.lab.experiment import Result, Tried
from mailward.lab.owner import Told
from mailward.lab.scenarios import Protection, Scenario


class Tone(StrEnum):
    GOOD = "good"
    BAD = "bad"
    WAITS = "waits"
    """Not delivered, though nobody attacks."""


@dataclass(frozen=True, slots=True)
class Said:
    text: str
    reported: str
    tone: Tone


def say(tried: Tried) -> Said:
    return Said(_fate(tried.outcome), _reported(tried.outcome), _tone(tried))


def _fate(outcome: Outcome) -> str:
    if outcome.fate is Fate.REFUSED:
        return "refused: waits in the queue"
    if outcome.fate is Fate.LOST:
        return "lost"
    if outcome.is_intercepted:
        readable = outcome.fate is Fate.CLEAR
        return "in clear, read by the attacker" if readable else "encrypted, but read by the attacker"
    return "delivered in clear" if outcome.fate is Fate.CLEAR else "delivered encrypted"


def _reported(outcome: Outcome) -> str:
    if not outcome.has_report:
        return "no report"
    return f"reported as {', '.join(outcome.reported)}" if outcome.reported else "reported without a failure"


def _tone(tried: Tried) -> Tone:
    outcome = tried.outcome
    if outcome.is_intercepted or outcome.fate in (Fate.CLEAR, Fate.LOST):
        return Tone.BAD
    if outcome.fate is Fate.REFUSED and not tried.cell.scenario.is_attack:
        return Tone.WAITS
    return Tone.GOOD


def say_afterwards(tried: Tried) -> str:
    """What became of a message that had to wait, when the attack was over."""
    if tried.afterwards is None:
        return ""
    if tried.afterwards.status == "sent" and not tried.afterwards.is_readable:
        return "When it is over, the same message is delivered, encrypted."
    if tried.afterwards.status == "sent":
        return "When it is over, the same message is delivered in clear."
    return "It waits until the owner has mended this."


def say_told(tried: Tried) -> list[str]:
    """What reached the owner's platform about it."""
    lines = [_say_report(told) for told in tried.told]
    return [*lines, *(f"opens a problem: {problem}" for problem in tried.problems)]


def _say_report(told: Told) -> str:
    sessions = "session" if told.successful == 1 else "sessions"
    counts = f"{told.successful} {sessions} well, {told.failed} not"
    details = "".join(
        f"; {each.sessions} x {each.result_type}{f' at {each.mx}' if each.mx else ''}"
        f"{f' ({each.reason})' if each.reason else ''}"
        for each in told.failures
    )
    return f"is told by {told.reporter} ({told.trust}), policy type {told.policy_type}: {counts}{details}"


def by_scenario(result: Result) -> list[tuple[Scenario, list[Tried]]]:
    found: dict[str, tuple[Scenario, list[Tried]]] = {}
    for tried in result.tried:
        scenario = tried.cell.scenario
        found.setdefault(scenario.name, (scenario, []))[1].append(tried)
    return list(found.values())


def as_markdown(result: Result) -> str:
    """The table."""
    heads = ["", *(protection.words for protection in Protection)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for scenario, tries in by_scenario(result):
        cells = [f"**{said.text}**; {said.reported}" for said in map(say, tries)]
        lines.append(f"| {' | '.join([scenario.title.replace('_', chr(92) + '_'), *cells])} |")
    return "\n".join(lines) + "\n"


def say_comparison(differences: Sequence[Difference], count: int) -> str:
    if not differences:
        return f"All {count} results are as expected."
    return f"{len(differences)} of {count} results are not as expected."


@dataclass(frozen=True, slots=True)
class Lesson:
    title: str
    text: str


def lessons(result: Result) -> list[Lesson]:
    """What is to be learned from it, as far as this run shows it."""
    outcomes = {(each.cell.scenario.name, each.cell.protection): each.outcome for each in result.tried}

    def was(name: str, protection: Protection, fate: Fate | None, *, is_intercepted: bool) -> bool:
        outcome = outcomes.get((name, protection))
        return (
            outcome is not None
            and outcome.is_intercepted is is_intercepted
            and (fate is None or outcome.fate is fate)
        )

    found = []
    if was("starttls-stripped", Protection.UNPROTECTED, Fate.CLEAR, is_intercepted=True):
        found.append(_OPPORTUNISTIC)
    if was("starttls-stripped", Protection.TESTING, None, is_intercepted=True):
        found.append(_TESTING)
    if was("policy-blocked-first", Protection.ENFORCE, None, is_intercepted=True) and was(
        "policy-blocked-later", Protection.ENFORCE, Fate.REFUSED, is_intercepted=False
    ):
        found.append(_FIRST_USE)
    if was("policy-blocked-first", Protection.DANE, Fate.REFUSED, is_intercepted=False):
        found.append(_DANE)
    if was("mitm-misissued", Protection.ENFORCE, None, is_intercepted=True):
        found.append(_MISISSUED)
    if was("expired", Protection.ENFORCE, Fate.REFUSED, is_intercepted=False):
        found.append(_CARE)
    return found


_OPPORTUNISTIC = Lesson(
    "Without protection, mail takes what it gets.",
    "STARTTLS is an offer. Whoever sits on the path takes the offer away, and the sender goes on without it."
    " Sender and receiver see a delivery as on any other day.",
)
_TESTING = Lesson(
    "Testing mode protects nobody.",
    "It delivers, as RFC 8461 wants it to: its use is the reports. Whoever stays in testing is attacked like everybody"
    " else, and only reads of it.",
)
_FIRST_USE = Lesson(
    "MTA-STS has a first-use gap.",
    "A sender that never could fetch the policy cannot keep to it. Once fetched, it holds until its max_age is over,"
    " whatever the attacker blocks, removes or forges: so use a long one.",
)
_DANE = Lesson(
    "DANE has no such gap.",
    "What is signed cannot be removed without notice: a failing lookup stops the mail. It needs DNSSEC on both sides.",
)
_MISISSUED = Lesson(
    "MTA-STS trusts every certificate authority.",
    "A certificate that should not have been issued passes. Certificate transparency and CAA records help the owner;"
    " DANE names the key itself.",
)
_CARE = Lesson(
    "Enforcing is a promise.",
    "A sender cannot tell an expired certificate from an attack. Mail waits, and the reports say why: read them.",
)


class _Cell(msgspec.Struct, frozen=True):
    scenario: str
    protection: str
    domain: str
    outcome: Outcome
    said: str
    reports: tuple[Told, ...]
    problems: tuple[str, ...]
    before: Act | None
    attack: Act
    afterwards: Act | None


class _Everything(msgspec.Struct, frozen=True):
    postfix: str
    seconds: float
    differences: list[Difference]
    table: str
    """As Markdown."""
    results: list[_Cell]


def as_json(result: Result) -> bytes:
    """Everything that was seen, indented."""
    cells = [
        _Cell(
            each.cell.scenario.name,
            each.cell.protection.words,
            each.cell.domain,
            each.outcome,
            say(each).text,
            each.told,
            each.problems,
            each.before,
            each.attack,
            each.afterwards,
        )
        for each in result.tried
    ]
    everything = _Everything(
        result.version, round(result.seconds, 1), compare(result), as_markdown(result), cells
    )
    return msgspec.json.format(msgspec.json.encode(everything), indent=2) + b"\n"


def grouped(steps: Sequence[Step]) -> list[tuple[str, list[str]]]:
    """The steps, one group for each party as long as it is the same."""
    groups: list[tuple[str, list[str]]] = []
    for step in steps:
        if not groups or groups[-1][0] != step.party:
            groups.append((step.party, []))
        groups[-1][1].append(step.text)
    return groups
