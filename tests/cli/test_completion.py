"""`mailward completion`, in the shell that it is for."""

import subprocess
import sys
from pathlib import Path

import pytest

from mailward.cli import COMMANDS
from mailward.cli.catalogue import describe_commands

MAILWARD = (sys.executable, "-m", "mailward")
COMPLETE = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mailward; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "mailward.bash"
    done = subprocess.run((*MAILWARD, "completion", "bash"), check=True, capture_output=True, timeout=60)
    file.write_bytes(done.stdout)
    return file


def complete(script: Path, *words: str, folder: Path | None = None) -> list[str]:
    command = ("bash", "--norc", "-u", "-c", COMPLETE, "bash", str(script), "mailward", *words)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    "words, expected",
    [
        (["sur"], ["survey"]),
        (["report", ""], ["show", "import"]),
        (["policy", "l"], ["lint"]),
        (["survey", "--smtp"], ["--smtp", "--smtp-rate", "--smtp-port"]),
        (["report", "show", "--js"], ["--jsonl"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["check", "exam"], []),  # a domain: there is nothing to know
        (["survey", "--resolver", ""], []),  # whatever the person means
        (["nonsense", "-"], []),
    ],
    ids=" ".join,
)
def test_bash_completes_commands_and_options(script: Path, words: list[str], expected: list[str]) -> None:
    assert complete(script, *words) == expected


def test_bash_completes_files_where_a_file_is_meant(script: Path, tmp_path: Path) -> None:
    (tmp_path / "monday.json").touch()
    for words in (["report", "show"], ["survey", "--ca-file"], ["serve", "--config"]):
        assert complete(script, *words, "mon", folder=tmp_path) == ["monday.json"]


def test_bash_knows_every_command_and_every_option(script: Path) -> None:
    firsts = complete(script, "")
    assert [name for name in COMMANDS if name.split()[0] not in firsts] == []
    for command in describe_commands():
        options = {name for each in command.options for name in each.names if name.startswith("--")}
        assert options <= set(complete(script, *command.name.split(), "--"))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_of_every_command(shell: str) -> None:
    done = subprocess.run(
        (*MAILWARD, "completion", shell), check=True, capture_output=True, text=True, timeout=60
    )
    assert [word for name in COMMANDS for word in name.split() if word not in done.stdout] == []
