"""A grade with its arithmetic, so that anybody can do the sum: docs/check.md publishes it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailward.core.check.finding import Finding
from mailward.core.check.verdict import Kind, Outcome, Verdict
from mailward.core.explain.explanation import Severity

FULL = 100
POINTS = {Severity.CRITICAL: 40, Severity.WARNING: 10, Severity.NOTICE: 0}
"""Taken off for each code once, however many hosts have the fault."""
UNPROTECTED_LIMIT = 50
"""The most where neither MTA-STS nor DANE protects mail."""
LETTERS = ((90, "A"), (75, "B"), (50, "C"), (25, "D"), (0, "F"))


@dataclass(frozen=True, slots=True)
class Grade:
    letter: str
    points: int
    sum: tuple[str, ...]
    """The arithmetic, a line each."""


def grade(findings: Sequence[Finding], verdicts: Sequence[Verdict]) -> Grade | None:
    """None where the domain takes no mail, or nothing that would count was observed."""
    by_kind = {verdict.kind: verdict.outcome for verdict in verdicts}
    if by_kind[Kind.OPPORTUNISTIC] is Outcome.NO_MAIL:
        return None
    strict = {by_kind[Kind.MTA_STS], by_kind[Kind.DANE]}
    if Outcome.UNKNOWN in strict and not strict & {Outcome.DELIVERS, Outcome.PARTLY, Outcome.REFUSES}:
        return None
    points, lines = FULL, [f"{FULL}"]
    worst: dict[str, int] = {}
    for finding in findings:
        worst[finding.code] = max(worst.get(finding.code, 0), POINTS[finding.severity])
    for code, cost in worst.items():
        if cost:
            points -= cost
            lines.append(f"- {cost} {code}")
    if not strict & {Outcome.DELIVERS, Outcome.PARTLY, Outcome.REFUSES} and points > UNPROTECTED_LIMIT:
        points = UNPROTECTED_LIMIT
        lines.append(f"at most {UNPROTECTED_LIMIT}: neither MTA-STS nor DANE protects mail")
    points = max(points, 0)
    letter = next(letter for least, letter in LETTERS if points >= least)
    return Grade(letter, points, (*lines, f"= {points}"))
