"""Postfix's programs: a real postconf, and what a real postmulti printed."""

from pathlib import Path

import pytest

from mailward.sender import postconf
from mailward.sender.postconf import PostfixError, list_directories, read_instance, run_program

POSTFIX = Path(__file__).parents[2] / ".cache" / "postfix"  # scripts/test-needs unpacks it
MULTI = """-               -               y         /etc/postfix
postfix-out     mta             y         /etc/postfix-out
"""


def script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_every_instance_of_postmulti_is_looked_at(tmp_path: Path) -> None:
    program = script(tmp_path, f"cat <<'X'\n{MULTI}X")
    assert await list_directories(program) == ["/etc/postfix", "/etc/postfix-out"]


async def test_without_postmulti_the_usual_folder_is_looked_at(tmp_path: Path) -> None:
    assert await list_directories("/nowhere/postmulti") == ["/etc/postfix"]
    assert await list_directories(script(tmp_path, "true")) == ["/etc/postfix"]


async def test_a_real_postconf_tells_parameters_services_and_overrides(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(
        "compatibility_level = 3.6\nrelayhost = [$mydomain]\nmydomain = x.test\n"
    )
    (tmp_path / "master.cf").write_text(
        "smtp unix - - y - - smtp\nout unix - - n - - smtp\n -o { smtp_tls_policy_maps = hash:/a, hash:/b }\n"
    )
    found = await read_instance(str(tmp_path), str(POSTFIX / "postconf"))
    assert found.version >= (3, 7)
    assert found.get("relayhost") == "[x.test]"
    smtp, out = found.clients
    assert (smtp.is_chrooted, out.is_chrooted) == (True, False)
    assert out.overrides == {"smtp_tls_policy_maps": "hash:/a, hash:/b"}
    assert found.config_directory == str(tmp_path)


async def test_programs_that_fail_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PostfixError, match="No such file"):
        await run_program("/nowhere/postconf")
    with pytest.raises(PostfixError, match="fatal: x"):
        await run_program(script(tmp_path, "echo fatal: x >&2; exit 1"))
    monkeypatch.setattr(postconf, "RUN_SECONDS", 0.2)
    with pytest.raises(PostfixError, match="did not end"):
        await run_program(script(tmp_path, "exec sleep 30"))


async def test_what_is_given_comes_to_standard_input(tmp_path: Path) -> None:
    assert await run_program(script(tmp_path, "cat"), stdin=b"abc") == b"abc"
