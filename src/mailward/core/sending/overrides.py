"""The operator's own word about domains: one TOML file, each entry with a reason and an end.

    [[override]]
    domain = "partner.example"          # or "*.partner.example": one label, as in a policy's mx
    action = "require"                  # pin, relax, ignore, require
    match = ["mx.partner.example"]      # require without it: dane-only
    reason = "contract 2026-17"
    until = 2027-01-31                  # its last day, UTC

docs/sender.md says what each action does.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from mailward.core.names import Domain, InvalidName, matches_mx, parse_domain, parse_mx_pattern

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_REASON = 500
_KEYS = {"domain", "action", "reason", "until", "match", "level"}


class Action(StrEnum):
    PIN = "pin"
    """As if the domain had an enforcing policy with these mx patterns, whatever it publishes."""
    RELAX = "relax"
    """Policies are learned, but bind nobody."""
    IGNORE = "ignore"
    """Nothing is asked about the domain."""
    REQUIRE = "require"
    """This protection or no delivery."""


class OverridesInvalid(Exception):
    """The file cannot be used; `problems` are sentences that name the entry."""

    code = "overrides"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems[:3]))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Override:
    domain: str
    """A Domain, or `*.` and one."""
    action: Action
    reason: str
    until: date
    """The last day, UTC."""
    match: tuple[str, ...] = ()
    level: str = ""
    """relax: `may` or `encrypt` instead of the site's default."""

    def holds(self, domain: Domain, today: date) -> bool:
        return today <= self.until and matches_mx(self.domain, domain)


def parse_overrides(text: str) -> tuple[Override, ...]:
    """All entries, ended ones too. Raises OverridesInvalid with everything that is wrong."""
    if len(text) > MAX_FILE_BYTES:
        raise OverridesInvalid([f"the file is larger than {MAX_FILE_BYTES} bytes"])
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OverridesInvalid([f"no TOML: {error}"]) from error
    entries = document.pop("override", [])
    problems = [f"{key} is no key; entries begin with [[override]]" for key in document]
    if not isinstance(entries, list):
        raise OverridesInvalid([*problems, "override is one table; write [[override]]"])
    overrides = []
    for number, entry in enumerate(entries, 1):
        try:
            overrides.append(_parse_entry(entry))
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
    if problems:
        raise OverridesInvalid(problems)
    return tuple(overrides)


def find_override(overrides: Sequence[Override], domain: Domain, today: date) -> Override | None:
    """The one that holds: the domain's own before a pattern's, and of equals the first in the file."""
    holding = [override for override in overrides if override.holds(domain, today)]
    return min(holding, key=lambda override: override.domain.startswith("*."), default=None)


def _parse_entry(entry: Any) -> Override:  # noqa: ANN401 - TOML is untyped until it has been looked at
    if not isinstance(entry, dict):
        raise ValueError("is no table")
    if unknown := sorted(set(entry) - _KEYS):
        raise ValueError(f"{unknown[0]} is no key of an override")
    action = _parse_action(entry.get("action"))
    match = _parse_match(entry.get("match", []), action)
    return Override(
        _parse_subject(entry.get("domain")),
        action,
        _parse_reason(entry.get("reason")),
        _parse_until(entry.get("until")),
        match,
        _parse_level(entry.get("level", ""), action),
    )


def _parse_subject(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("domain is missing")
    try:
        return parse_mx_pattern(value)
    except InvalidName as error:
        raise ValueError(f"domain: {error}") from error


def _parse_action(value: object) -> Action:
    try:
        return Action(str(value))
    except ValueError as error:
        raise ValueError(f"action must be one of {', '.join(Action)}") from error


def _parse_reason(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_REASON:
        raise ValueError(f"reason is missing, or no line of up to {MAX_REASON} characters")
    return value.strip()


def _parse_until(value: object) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("until is missing, or no date such as 2027-01-31 (without quotes)")
    return value


def _parse_match(value: object, action: Action) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("match must be a list of names")
    if value and action not in (Action.PIN, Action.REQUIRE):
        raise ValueError(f"{action} takes no match")
    if not value and action is Action.PIN:
        raise ValueError("pin needs match: the MX hosts, as in a policy")
    try:
        for item in value:
            parse_domain(item.removeprefix("*."), allow_single=item.startswith("*."))
        return tuple(parse_mx_pattern(item) for item in value)
    except InvalidName as error:
        raise ValueError(f"match: {error}") from error


def _parse_level(value: object, action: Action) -> str:
    if value == "":
        return ""
    if action is not Action.RELAX or value not in ("may", "encrypt"):
        raise ValueError("level is for relax alone, and may or encrypt")
    return str(value)
