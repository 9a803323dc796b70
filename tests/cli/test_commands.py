import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mailward
from mailward.cli import COMMANDS, main


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and standard output of a fresh process."""
    command = [sys.executable, "-m", "mailward", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    return exit_info.value.code


def test_the_version_is_printed() -> None:
    assert run("--version") == run("version") == (0, f"mailward {mailward.__version__}\n")


def test_help_lists_every_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    text = capsys.readouterr().out
    assert all(f"{name} " in text and command.summary in text for name, command in COMMANDS.items())
    assert "_policy-host" not in text


def test_a_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("report", "--help") == 0
    text = capsys.readouterr().out
    assert "report show" in text
    assert "policy show" not in text


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that run in this process set up logging for all of it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(capture=False)


MISTAKES = [
    ((), "Usage: mailward COMMAND", "nothing"),
    (("frob",), "There is no command 'frob'", "unknown"),
    (("report", "frob"), "There is no command 'report frob'", "unknown in a group"),
    (("--frob",), "Usage: mailward COMMAND", "unknown option"),
    (
        ("serve", "--config", "/nowhere/mailward.toml"),
        "/nowhere/mailward.toml: ",
        "settings that are not there",
    ),
]


@pytest.mark.parametrize("arguments, said, reason", MISTAKES, ids=[row[2] for row in MISTAKES])
def test_mistakes_end_with_status_2_and_a_sentence(
    arguments: tuple[str, ...], said: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*arguments) == 2, reason
    output = capsys.readouterr()
    assert said in output.out + output.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("serve", "report import")])
def test_commands_of_the_bare_install_import_no_platform(command: str) -> None:
    code = (
        "import sys; from mailward.cli import main\n"
        f"try: main({[*command.split(), '--help']!r})\n"
        "except SystemExit: pass\n"
        "loaded = {'django', 'uvicorn', 'aiosmtpd', 'mailward.store'} & set(sys.modules)\n"
        "raise SystemExit(f'imported {loaded}' if loaded else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_version_needs_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); from mailward.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = {'typer', 'rich', 'asyncio', 'ssl', 'cryptography'} & (set(sys.modules) - before)\n"
        "raise SystemExit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_command_of_the_platform_says_what_a_bare_install_lacks(tmp_path: Path) -> None:
    (tmp_path / "mailward.sqlite3").touch()
    code = (
        "import sys; sys.modules['django'] = None; from mailward.cli import main\n"
        f"main(['user', 'list', '--data', {str(tmp_path)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "mailward: This command needs the platform (django is missing): pip install 'mailward[platform]'\n"
    )
