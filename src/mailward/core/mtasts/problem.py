"""What can be wrong with a policy, as values: found by the reader, shown by whoever asked."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    INVALID = "invalid"
    """Senders that follow the RFC will not use this policy."""
    WARNING = "warning"
    """The policy is used, but not as its owner thinks, or not by every sender."""
    NOTE = "note"
    """Worth knowing; nothing to mend."""


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    """Stable slug."""
    line: int | None
    """Counted from 1; None: the policy as a whole."""
    field: str | None
    message: str
    """One sentence for people."""
    section: str
    """Such as `RFC 8461 section 3.2`."""
    level: Level = Level.INVALID

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.message} ({self.section})"


class PolicyInvalid(Exception):
    """The bytes are no policy that a sender may use; `problems` says all that is wrong with them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems[:3]) or "the policy is invalid")
        self.problems = problems
