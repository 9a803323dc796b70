"""The policy (RFC 8461 section 3.2): read, judged, written.

Reading follows the grammar exactly. A lenient reader would be a hole: one that lets the last of two `mode`
fields win can be disarmed by a line at the end.
"""

import functools
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mailward.core.mtasts.advice import advise
from mailward.core.mtasts.lines import Field, judge_kind, read_fields
from mailward.core.mtasts.problem import Level, PolicyInvalid, Problem
from mailward.core.names import InvalidName, check_ldh

__all__ = [
    "MAX_AGE_LIMIT",
    "MAX_POLICY_BYTES",
    "Level",
    "Mode",
    "Policy",
    "PolicyInvalid",
    "Problem",
    "lint_policy",
    "make_policy_id",
    "parse_policy",
    "serialise_policy",
]

MAX_POLICY_BYTES = 65_536  # RFC 8461 §3.3 suggests 64 kilobytes
MAX_AGE_LIMIT = 31_557_600  # RFC 8461 §3.2: one year
MAX_PROBLEMS = 100  # a 64 KiB body has room for 32,000 bad lines; nobody reads that many

_SECTION = "RFC 8461 section 3.2"
_MAX_AGE = re.compile(r"[0-9]{1,10}", re.ASCII)
_ONCE = ("version", "mode", "max_age")


class Mode(StrEnum):
    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    mode: Mode
    max_age_seconds: int
    """At most MAX_AGE_LIMIT: a larger value is capped, and lint_policy says so."""
    mx: tuple[str, ...] = ()
    """Patterns as written, in their order."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Fields that the RFC does not know; senders ignore them."""
    text: str = field(default="", compare=False)
    """The body that it was read from."""


def parse_policy(body: bytes) -> Policy:
    """The policy in this body. Raises PolicyInvalid with all that a sender would refuse it for."""
    policy, problems = lint_policy(body)
    if policy is None:
        raise PolicyInvalid(tuple(problem for problem in problems if problem.level is Level.INVALID))
    return policy


def lint_policy(body: bytes) -> tuple[Policy | None, tuple[Problem, ...]]:
    """The policy, or None if senders must not use it, and everything worth saying about it, by line."""
    # many domains have their provider's, and whoever fetched one reads it again to judge and to show it
    return _lint_again(bytes(body)) if len(body) <= _MAX_KEPT_BYTES else _lint(body)


def _lint(body: bytes) -> tuple[Policy | None, tuple[Problem, ...]]:
    if len(body) > MAX_POLICY_BYTES:
        message = f"the policy is larger than {MAX_POLICY_BYTES} bytes, where senders may stop"
        return None, (Problem("too-large", None, None, message, "RFC 8461 section 3.3"),)
    if (other := judge_kind(body)) is not None:
        return None, (other,)
    fields, problems = read_fields(body)
    firsts, duplicates = _first_of_each(fields)
    problems += duplicates
    problems += _check_version(firsts.get("version"))
    mode = _read_mode(firsts.get("mode"), problems)
    max_age = _read_max_age(firsts.get("max_age"), problems)
    patterns = [item for item in fields if item.name == "mx"]
    for pattern in patterns:
        problems += _check_pattern(pattern)
    problems += _find_missing(firsts, problems)
    unusable = {problem.line for problem in problems if problem.level is Level.INVALID}
    if mode is not None and max_age is not None:  # advice is worth hearing even before the rest is mended
        problems += advise(mode, max_age, [item for item in fields if item.line not in unusable])
    if mode is None or max_age is None or unusable:
        return None, _in_order(problems)
    extensions = tuple((name, item.value) for name, item in firsts.items() if name not in (*_ONCE, "mx"))
    text = body.decode("utf-8")
    policy = Policy(
        mode, min(max_age, MAX_AGE_LIMIT), tuple(item.value for item in patterns), extensions, text
    )
    return policy, _in_order(problems)


_MAX_KEPT_BYTES = 2048
_lint_again = functools.lru_cache(maxsize=256)(_lint)


def serialise_policy(policy: Policy) -> str:
    """The body to serve: CRLF, in the order of the RFC's example. parse_policy gives back an equal policy.

    Raises PolicyInvalid for values that senders would refuse or read differently.
    """
    fields = [("version", "STSv1"), ("mode", policy.mode.value)]
    fields += [("mx", pattern) for pattern in policy.mx]
    fields += [("max_age", str(policy.max_age_seconds)), *policy.extensions]
    text = "".join(f"{name}: {value}\r\n" for name, value in fields)
    if parse_policy(text.encode("utf-8", "surrogatepass")) != policy:
        message = "the policy's values cannot be written so that senders read the same"
        raise PolicyInvalid((Problem("not-representable", None, None, message, _SECTION),))
    return text


def make_policy_id(text: str, now: datetime) -> str:
    """An id for the `_mta-sts` record: 25 letters and digits, in order of time, with a digest of the text.

    Two ids of one domain differ unless the same text is published twice in one millisecond.
    """
    stamp = f"{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03}"
    return stamp + hashlib.sha256(text.encode()).hexdigest()[:8]


def _first_of_each(fields: list[Field]) -> tuple[dict[str, Field], list[Problem]]:
    """RFC 8461 §3.2: of duplicated fields all but the first are ignored, `mx` excepted."""
    firsts: dict[str, Field] = {}
    problems = []
    for item in fields:
        first = firsts.setdefault(item.name, item)
        if first is not item and item.name != "mx":
            message = f"{item.name} is given again and ignored: line {first.line} counts"
            problems.append(Problem("duplicate", item.line, item.name, message, _SECTION, Level.WARNING))
    return firsts, problems


def _find_missing(firsts: dict[str, Field], problems: list[Problem]) -> list[Problem]:
    """The required fields that are not there; a line that tried and failed has its own problem."""
    mode, tried = firsts.get("mode"), {problem.field for problem in problems}
    required = _ONCE if mode is not None and mode.value == Mode.NONE else (*_ONCE, "mx")
    missing = []
    for name in required:
        if name in firsts or name in tried:
            continue
        message = f"the {name} field is missing"
        if name == "mx":
            message = "no mx field: at least one is required unless the mode is none"
        if cased := next((other for other in firsts if other.lower() == name), None):
            message += f"; {cased} in line {firsts[cased].line} is another name, case counts"
        missing.append(Problem(f"{name.replace('_', '-')}-missing", None, name, message, _SECTION))
    return missing


def _check_version(item: Field | None) -> list[Problem]:
    if item is None or item.value == "STSv1":  # case-sensitive: %s"STSv1"
        return []
    message = f"the version is {item.excerpt}, but must be STSv1"
    return [Problem("version-unknown", item.line, "version", message, _SECTION)]


def _read_mode(item: Field | None, problems: list[Problem]) -> Mode | None:
    if item is None:
        return None
    try:
        return Mode(item.value)
    except ValueError:
        message = f"the mode is {item.excerpt}, but must be enforce, testing or none (lower case)"
        problems.append(Problem("mode-unknown", item.line, "mode", message, _SECTION))
        return None


def _read_max_age(item: Field | None, problems: list[Problem]) -> int | None:
    if item is None:
        return None
    if not _MAX_AGE.fullmatch(item.value):  # int() would take 86_400 and other scripts' digits
        message = f"max_age is {item.excerpt}, but must be seconds in 1 to 10 digits"
        problems.append(Problem("max-age-syntax", item.line, "max_age", message, _SECTION))
        return None
    seconds = int(item.value)
    if seconds > MAX_AGE_LIMIT:
        # erratum 7282 (reported): the ABNF has room for 10 digits, the text ends at one year. Some senders
        # cap, some refuse the policy: a publisher should hear of it, a reader goes on with the year.
        message = (
            f"max_age is {seconds}, above the limit of {MAX_AGE_LIMIT}: senders cap it or refuse the policy"
        )
        problems.append(Problem("max-age-high", item.line, "max_age", message, _SECTION, Level.WARNING))
    return seconds


def _check_pattern(item: Field) -> list[Problem]:
    try:
        check_ldh(item.value.removeprefix("*."))
    except InvalidName as error:
        message = f"{item.excerpt} is no mx pattern: {error}"
        return [Problem("mx-syntax", item.line, "mx", message, _SECTION)]
    return []


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    ordered = sorted(problems, key=lambda problem: (problem.level is not Level.INVALID, problem.line or 0))
    kept = ordered[:MAX_PROBLEMS]
    kept.sort(key=lambda problem: (problem.line is None, problem.line or 0))
    if len(ordered) > MAX_PROBLEMS:
        message = f"{len(ordered) - MAX_PROBLEMS} more problems are not listed"
        level = Level.INVALID if kept[0].level is Level.INVALID else Level.NOTE
        kept.append(Problem("more", None, None, message, _SECTION, level))
    return tuple(kept)
