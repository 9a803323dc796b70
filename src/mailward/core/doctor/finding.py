"""One thing that a doctor has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    GOOD = "good"
    UNSEEN = "unseen"
    """Could not be looked at from here; the text says why. No alarm."""
    ADVICE = "advice"
    """Works, and something should be known or could be better."""
    PROBLEM = "problem"
    """Something does not work: mail is deferred or not protected, or what was promised is not kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    grade: Grade
    code: str
    text: str
    fix: str = ""
    """The exact change: a command, a record, or a line of a file."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    findings: tuple[Finding, ...]
    name: str = ""
    """How `--only` calls it, where it can be chosen."""
