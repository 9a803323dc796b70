"""Every command with its options and arguments: what completion and the manual pages tell of.

Reading it imports the module of every command, which takes a second; none of that is needed to run one.
"""

import enum
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from mailward.cli import COMMANDS, Command

_OF_TYPER = ("install_completion", "show_completion")
# arguments that are text, since `-` or an address would do too
_FILE = re.compile(r"\b(FILE|LIST|MAILLOG)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Option:
    names: tuple[str, ...]
    metavar: str
    """Empty: it takes no value."""
    choices: tuple[str, ...]
    is_file: bool
    help: str


@dataclass(frozen=True, slots=True)
class Described:
    """A command as `COMMANDS` names it."""

    name: str
    summary: str
    help: str
    arguments: str
    """As the usage line shows them: `FILE...`."""
    takes_file: bool
    choices: tuple[str, ...]
    """The words that an argument may be, where only a few may."""
    options: tuple[Option, ...]


def describe_commands() -> Iterator[Described]:
    """All that are listed, in the order of `COMMANDS`."""
    for name, command in COMMANDS.items():
        yield _describe(name, command)


def _describe(name: str, command: Command) -> Described:
    application = importlib.import_module(f"mailward.cli.{command.module}").app
    if not isinstance(application, typer.Typer):  # `version`: plain code, without options
        return Described(name, command.summary, command.summary, "", takes_file=False, choices=(), options=())
    found: Any = typer.main.get_command(application)  # of the click that typer brings along, without types
    found = getattr(found, "commands", {}).get(name.rsplit(maxsplit=1)[-1], found)
    arguments = [each for each in found.params if each.param_type_name == "argument"]
    options = [
        each
        for each in found.params
        if each.param_type_name == "option" and not each.hidden and each.name not in _OF_TYPER
    ]
    return Described(
        name,
        command.summary,
        found.help or command.summary,
        " ".join(each.metavar or each.name.upper() for each in arguments),
        takes_file=any(_is_file(each) or _FILE.search(each.metavar or each.name) for each in arguments),
        choices=tuple(word for each in arguments for word in _choices(each.type_descriptor.annotation)),
        options=tuple(_option(each) for each in options),
    )


def _option(found: Any) -> Option:  # noqa: ANN401 - of typer's click, without types
    return Option(
        (*found.opts, *found.secondary_opts),
        "" if found.is_flag else found.metavar or "TEXT",
        _choices(found.type_descriptor.annotation),
        _is_file(found),
        found.help or "",
    )


def _is_file(found: Any) -> bool:  # noqa: ANN401 - the same
    return any(each is Path for each in _kinds(found.type_descriptor.annotation))


def _choices(annotation: object) -> tuple[str, ...]:
    words: list[str] = []
    for kind in _kinds(annotation):
        if get_origin(kind) is Literal:
            words += [str(each) for each in get_args(kind)]
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            words += [str(each.value) for each in kind]
    return tuple(words)


def _kinds(annotation: object) -> Iterator[object]:
    """What `list[Path] | None` is made of."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
        return
    for each in get_args(annotation):
        yield from _kinds(each)
