"""The shape of the catalogue's entries."""

from dataclasses import dataclass

from mailward.core.doctor.finding import Grade


@dataclass(frozen=True, slots=True)
class Meaning:
    code: str
    """Stable: programs may rely on it."""
    grade: Grade
    meaning: str
    """What follows from it, for somebody who reads it at night."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One check: what `--only` names."""

    name: str
    title: str
    looks_at: str
    meanings: tuple[Meaning, ...]


def problem(code: str, meaning: str) -> Meaning:
    return Meaning(code, Grade.PROBLEM, meaning)


def advice(code: str, meaning: str) -> Meaning:
    return Meaning(code, Grade.ADVICE, meaning)
