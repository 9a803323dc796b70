"""mailward completion: what a shell needs to complete commands, options and files.

The script is static: pressing Tab starts no Python.
"""

import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from mailward.cli.catalogue import Described, Option, describe_commands

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_BASH = """# bash completion for mailward; written by `mailward completion bash`
_mailward() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local options='' choices='' files='' values='' takes_file=''
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W {words} -- "$word")
        return
    fi
    if [ "$COMP_CWORD" = 2 ]; then
        case "${{COMP_WORDS[1]}}" in
{groups}
        esac
        if [ -n "$choices" ] && [[ $word != -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
            return
        fi
        choices=''
    fi
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{commands}
    esac
    case " $files " in *" $before "*) takes_file=yes choices='' ;; esac
    case " $values " in *" $before "*) return ;; esac
    if [ -n "$choices" ] && [[ $word != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
    elif [[ $word == -* ]] || [ -z "$takes_file$word" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}}
complete -F _mailward mailward
"""

_ZSH = """#compdef mailward
# zsh completion for mailward; written by `mailward completion zsh`
_mailward() {{
    local -a choices
    if (( CURRENT == 2 )); then
        choices=({words})
        _describe command choices
        return
    fi
    if (( CURRENT == 3 )); then
        case $words[2] in
{groups}
        esac
        (( $#choices )) && {{ _describe command choices; return }}
    fi
    case "$words[2] $words[3]" in
{commands}
    esac
}}
if [ "$funcstack[1]" = _mailward ]; then
    _mailward "$@"
else
    compdef _mailward mailward
fi
"""

_FISH = """# fish completion for mailward; written by `mailward completion fish`
function __mailward_has
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv" -o (count $words) -gt 3 -a "$words[2..3]" = "$argv" \\
        -o (count $words) -gt 2 -a "$words[2]" = "$argv"
end
function __mailward_at
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end
complete -c mailward -f
"""


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="bash, zsh or fish.")],
) -> None:
    """Print what makes a shell complete mailward's commands; the Debian package has it in place.

    For bash in ~/.bashrc: eval "$(mailward completion bash)"
    """
    commands = tuple(describe_commands())
    sys.stdout.write({"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands))


def _first_words(commands: tuple[Described, ...]) -> dict[str, str]:
    """The words that may stand first, with a summary: of a group its commands."""
    found: dict[str, str] = {}
    for each in commands:
        first, _, second = each.name.partition(" ")
        found[first] = (
            each.summary if not second else f"{found[first]}, {second}" if first in found else second
        )
    return found


def _groups(commands: tuple[Described, ...]) -> dict[str, list[Described]]:
    found: dict[str, list[Described]] = {}
    for each in commands:
        first, _, second = each.name.partition(" ")
        if second:
            found.setdefault(first, []).append(each)
    return found


def _bash(commands: tuple[Described, ...]) -> str:
    groups = [
        f"            {first}) choices={shlex.quote(' '.join(each.name.split()[1] for each in members))} ;;"
        for first, members in _groups(commands).items()
    ]
    return _BASH.format(
        words=shlex.quote(" ".join((*_first_words(commands), "--help", "--version"))),
        groups="\n".join(groups),
        commands="\n".join(line for each in _longest_first(commands) for line in _bash_command(each)),
    )


def _bash_command(command: Described) -> Iterator[str]:
    options = [name for each in command.options for name in each.names if name.startswith("--")]
    files = [name for each in command.options if each.is_file for name in each.names]
    values = [
        name
        for each in command.options
        if each.metavar and not each.is_file and not each.choices
        for name in each.names
    ]
    yield f"        {_pattern(command.name, quote=chr(39))})"
    yield f"            options={shlex.quote(' '.join((*options, '--help')))}"
    yield f"            files={shlex.quote(' '.join(files))} values={shlex.quote(' '.join(values))}"
    if command.takes_file:
        yield "            takes_file=yes"
    if command.choices:
        yield f"            choices={shlex.quote(' '.join(command.choices))}"
    for each in command.options:
        if each.choices:
            choices = shlex.quote(" ".join(each.choices))
            yield f'            case "$before" in {"|".join(each.names)}) choices={choices} ;; esac'
    yield "            ;;"


def _longest_first(commands: tuple[Described, ...]) -> list[Described]:
    """`backup verify` before `backup`, whose pattern matches both."""
    return sorted(commands, key=lambda each: -each.name.count(" "))


def _pattern(name: str, quote: str) -> str:
    """What matches the first two words of the line."""
    return f"{quote}{name}{quote}" if " " in name else f"{quote}{name} {quote}*"


def _zsh(commands: tuple[Described, ...]) -> str:
    groups = []
    for first, members in _groups(commands).items():
        words = " ".join(_zsh_word(each.name.split()[1], each.summary) for each in members)
        groups.append(f"            {first}) choices=({words}) ;;")
    return _ZSH.format(
        words=" ".join(_zsh_word(word, summary) for word, summary in _first_words(commands).items()),
        groups="\n".join(groups),
        commands="\n".join(line for each in _longest_first(commands) for line in _zsh_command(each)),
    )


def _zsh_word(word: str, summary: str) -> str:
    return shlex.quote(f"{word}:{summary}")


def _zsh_command(command: Described) -> Iterator[str]:
    count = command.name.count(" ") + 1
    yield f"        {_pattern(command.name, quote=chr(39))})"
    yield f"            shift {count} words; (( CURRENT -= {count} ))"
    yield "            _arguments \\"
    for each in command.options:
        yield from (f"                {shlex.quote(_zsh_option(name, each))} \\" for name in each.names)
    rest = "_files" if command.takes_file else f"({' '.join(command.choices)})" if command.choices else ""
    yield f"                {shlex.quote(f'*: :{rest}')}"
    yield "            ;;"


def _zsh_option(name: str, option: Option) -> str:
    said = " ".join(option.help.split())
    for special in "\\[]:":
        said = said.replace(special, f"\\{special}")
    shown = f"{name}[{said}]"
    if not option.metavar:
        return shown
    if option.choices:
        return f"{shown}:{option.metavar.lower()}:({' '.join(option.choices)})"
    return f"{shown}:{option.metavar.lower().replace(':', ' ')}:{'_files' if option.is_file else ''}"


def _fish(commands: tuple[Described, ...]) -> str:
    lines = [
        f"complete -c mailward -n __fish_use_subcommand -a {word} -d {_fish_text(summary)}"
        for word, summary in _first_words(commands).items()
    ]
    for first, members in _groups(commands).items():
        lines += [
            f"complete -c mailward -n '__mailward_at {first}' -a {each.name.split()[1]} -d {_fish_text(each.summary)}"
            for each in members
        ]
    lines += [line for each in _longest_first(commands) for line in _fish_command(each)]
    return _FISH + "\n".join(lines) + "\n"


def _fish_command(command: Described) -> Iterator[str]:
    when = f"complete -c mailward -n '__mailward_has {command.name}'"
    if command.takes_file:
        yield f"{when} -F"
    if command.choices:
        yield f"{when} -a {_fish_text(' '.join(command.choices))}"
    for each in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in each.names
        )
        value = ""
        if each.metavar:
            value = " -r" + (
                f" -a {_fish_text(' '.join(each.choices))}"
                if each.choices
                else " -F"
                if each.is_file
                else " -f"
            )
        yield f"{when} {names} -d {_fish_text(each.help)}{value}"


def _fish_text(text: str) -> str:
    said = " ".join(text.split()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{said}'"
