"""What can be known of `mailward lab` without namespaces."""

import os
import shutil

import pytest

from mailward.cli import main
from mailward.lab import needs
from mailward.lab.scenarios import SCENARIOS


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["lab", *words])
    return int(ended.value.code or 0)


def test_the_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [s.name for s in SCENARIOS]


def test_a_scenario_that_is_not_there_is_said_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--scenario", "nothing") == 2
    assert "no scenario 'nothing'. They are: peace, starttls-stripped," in capsys.readouterr().err


def test_another_postfix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--postfix", "3.9") == 2
    assert "--postfix 3.9: it is 3.10 or 3.7." in capsys.readouterr().err


def test_who_is_not_root_needs_numbers_for_the_users_of_postfix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(shutil, "which", lambda program: program)
    sentence = needs.missing(("trixie",))
    assert sentence.startswith(
        "/etc/subuid has no numbers for 4711. Run it as root, or once, as root: usermod "
    )


def test_what_is_missing_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MAILWARD_TREES", "/nowhere")
    assert needs.missing(("trixie",)).endswith("apt-get install -y iproute2 mmdebstrap")
