"""Commands that root types, on the data folder of the service's user: what they make is the user's."""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.prepared import prepare

from mailward.backup.making import working_folder

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="root gives away what it makes"),
    pytest.mark.timeout(300),
]
USER = "nobody"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = prepare(tmp_path / "data")
    give(folder)
    return folder


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder of the user's; those of pytest let only root pass."""
    with tempfile.TemporaryDirectory(prefix="mailward-user-") as folder:
        give(Path(folder))
        yield Path(folder)


def become_user() -> None:
    user = pwd.getpwnam(USER)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def give(folder: Path) -> None:
    user = pwd.getpwnam(USER)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)


def roots(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.stat().st_uid == 0]


def run(data: Path, *command: str | Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    return subprocess.run(
        [sys.executable, "-m", "mailward", *command],
        env=kept | {"MAILWARD_DATA": str(data)} | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "key rotate",
        "sender reporter --once",
        "key forget",
        "user link",
        "backup",
        "database migrate",
        "database migrate --to 0.1.0",
    ],
)
def test_what_a_command_makes_is_the_users(data: Path, command: str) -> None:
    if command in ("key forget", "user link"):
        (data / "secret-key").unlink()
        (data / "key").unlink(missing_ok=True)
    done = run(data, *command.split(), MAILWARD_TLSRPT_CONTACT="tls@example.test")
    assert done.returncode == 0, done.stderr
    assert roots(data) == []


def test_a_backup_that_root_was_killed_at_keeps_no_other_from_being_made(reachable: Path) -> None:
    left = reachable / ".backup-left"
    left.mkdir(mode=0o700)
    (left / "0").write_text("half")
    child = os.fork()
    if not child:
        status = 1
        try:
            become_user()
            with working_folder(reachable):
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with working_folder(reachable):
        assert not left.exists()
