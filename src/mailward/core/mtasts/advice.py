"""What a valid policy's owner should still know: odd patterns, short lives, fields that nobody reads."""

from collections.abc import Sequence

from mailward.core.mtasts.lines import Field
from mailward.core.mtasts.problem import Level, Problem
from mailward.core.names import is_address

DAY_SECONDS = 86_400

# Patterns one label short of the provider's host names: strict senders refuse to deliver under such a policy
# (the wildcard is one label, RFC 8461 §4.1).
_EXCHANGE = "Exchange Online's MX hosts are under *.mail.protection.outlook.com or mx.microsoft"
_TOO_SHORT = {
    "*.google.com": "Google's MX hosts are under *.l.google.com, *.aspmx.l.google.com and smtp.google.com",
    "*.outlook.com": _EXCHANGE,
    "*.protection.outlook.com": _EXCHANGE,
    "*.mx.microsoft": "Exchange Online's MX hosts have one label more, such as *.n-v1.mx.microsoft",
}


def advise(mode: str, max_age_seconds: int, fields: Sequence[Field]) -> list[Problem]:
    """Warnings and notes about a policy whose fields are all valid."""
    patterns = [item for item in fields if item.name == "mx"]
    problems = [_unknown(item) for item in fields if item.name not in ("version", "mode", "max_age", "mx")]
    if mode != "none":
        problems += _advise_max_age(max_age_seconds, fields)
        problems += [problem for item in patterns for problem in _advise_pattern(item)]
        problems += _advise_repeats(patterns)
    return problems


def _unknown(item: Field) -> Problem:
    message = f"{item.name} is no field that senders know; they ignore it"
    return Problem("unknown-field", item.line, item.name, message, "RFC 8461 section 3.2", Level.NOTE)


def _advise_max_age(seconds: int, fields: Sequence[Field]) -> list[Problem]:
    if seconds >= DAY_SECONDS:
        return []
    line = next(item.line for item in fields if item.name == "max_age")
    message = f"max_age is {seconds} seconds: under a day protects hardly anybody; weeks are usual"
    # RFC 8461 §10.2: a short life lets an attacker wait until it has ended and block the next fetch
    return [Problem("max-age-short", line, "max_age", message, "RFC 8461 section 10.2", Level.WARNING)]


def _advise_pattern(item: Field) -> list[Problem]:
    value = item.value.lower()
    name = value.removeprefix("*.")
    if value in _TOO_SHORT:
        code, message = "mx-too-short", f"{value} matches one label only: {_TOO_SHORT[value]}"
    elif is_address(name) or name.rpartition(".")[2].isdigit():
        code, message = (
            "mx-address",
            f"{value} looks like an address; MX records hold names, so it matches nothing",
        )
    elif value.startswith("*.") and "." not in name:
        code, message = "mx-wide", f"{value} lets every host directly under .{name} take the mail"
    elif "." not in name:
        code, message = (
            "mx-single-label",
            f"{value} has one label: no MX record on the Internet has such a name",
        )
    else:
        return []
    return [Problem(code, item.line, "mx", message, "RFC 8461 section 4.1", Level.WARNING)]


def _advise_repeats(patterns: Sequence[Field]) -> list[Problem]:
    problems, seen = [], set[str]()
    wildcards = {item.value.lower() for item in patterns if item.value.startswith("*.")}
    for item in patterns:
        value = item.value.lower()
        if value in seen:
            message = f"{value} is listed twice"
            problems.append(
                Problem("mx-repeated", item.line, "mx", message, "RFC 8461 section 3.2", Level.WARNING)
            )
        elif (cover := "*." + value.partition(".")[2]) in wildcards and cover != value:
            message = f"{value} is covered by {cover} already"
            problems.append(
                Problem("mx-covered", item.line, "mx", message, "RFC 8461 section 4.1", Level.NOTE)
            )
        seen.add(value)
    return problems
