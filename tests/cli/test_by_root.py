"""Commands that root types, on the data folder of the service's user: what they make is the user's, and PostgreSQL,
which knows the user and not root, is asked as him.
"""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.cli.test_serve import Platform
from tests.fakes.signer import report_json
from tests.ingest.conftest import json_body
from tests.postgresql import Server
from tests.prepared import prepare

from mailward.backup.making import working_folder
from mailward.cli.installation import load_named
from mailward.cli.problem import Problem

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="root gives away what it makes"),
    pytest.mark.timeout(300),
]
USER = "nobody"
MAY_REFUSE = ("user", "policy", "domains", "certificates")
"""What DNS or the absence of people has them say; the database has answered then."""


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


def test_a_folder_of_backups_that_root_makes_is_open_to_the_user(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "backups"
    done = run(data, "backup", MAILWARD_BACKUP_FOLDER=str(folder))
    assert done.returncode == 0, done.stderr
    assert [folder.parent.owner(), folder.owner(), *(each.owner() for each in folder.iterdir())] == [USER] * 3


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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    server.let_in_peers()
    server.sql(f"CREATE ROLE {USER} LOGIN CREATEDB")
    yield server
    server.remove()


@pytest.fixture
def names(server: Server) -> dict[str, str]:
    """The settings, with the recipe's own words: a name, and where the socket is."""
    server.sql("DROP DATABASE IF EXISTS mailward")
    server.sql(f"CREATE DATABASE mailward OWNER {USER}")
    return {"MAILWARD_DATABASE_NAME": "mailward", "MAILWARD_DATABASE_HOST": str(server.folder)}


def test_every_command_is_let_in_by_a_server_that_asks_who_is_there(
    data: Path, names: dict[str, str], server: Server, tmp_path: Path
) -> None:
    # only root may read these, and write there
    listed, policy, reports = (tmp_path / name for name in ("domains.csv", "policy.txt", "reports.json"))
    listed.write_text("third.test\n")
    policy.write_text("version: STSv1\r\nmode: testing\r\nmx: mx.test\r\nmax_age: 86400\r\n")
    reports.write_bytes(json_body(report_json(policy_domain="second.test")))
    taken = tmp_path / "taken.sqlite3"
    (data / "mailward.sqlite3").rename(taken)
    taken.chmod(0o600)
    os.chown(taken, 0, 0)
    for command in (
        ("database", "copy", "--from", taken),
        ("user", "link"),
        ("user", "list"),
        ("domains", "add", "second.test"),
        ("domains", "import", listed, "--add"),
        ("domains", "records"),
        ("policy", "set", "second.test", policy),
        ("report", "import", reports, "--domain", "second.test"),
        ("certificates",),
        ("key", "rotate"),
        ("backup", tmp_path / "backup"),
        ("database", "migrate", "--dry-run"),
        ("database", "migrate", "--to", "0.1.0"),
        ("database", "migrate"),
    ):
        done = run(data, *command, **names, MAILWARD_DNS_RESOLVERS="127.0.0.1:9")
        assert 'role "root"' not in done.stderr, command
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in ((0, 1, 2, 3) if command[0] in MAY_REFUSE else (0,)), (command, done.stderr)
    assert server.sql("SELECT count(*) FROM store_domain", "mailward") == "2"
    assert roots(data) == []
    server.sql("DROP DATABASE mailward")
    server.sql(f"CREATE DATABASE mailward OWNER {USER}")
    done = run(data, "restore", tmp_path / "backup", "--replace", **names)
    assert done.returncode == 0, done.stderr
    assert server.sql("SELECT count(*) FROM store_domain", "mailward") == "2"
    assert roots(data) == []


@dataclass
class Named(Platform):
    """With settings of its own."""

    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.settings


def test_root_serves_as_the_user_whom_the_server_knows_and_is_warned(
    reachable: Path, names: dict[str, str], server: Server
) -> None:
    log = server.folder / "log"
    before = len(log.read_text())
    platform = Named(reachable, settings=names)
    platform.start()
    try:
        assert "is ready" in platform.log
        assert "runs-as-root" in platform.log
        assert 'role "root"' not in log.read_text()[before:]
    finally:
        platform.stop()


@pytest.mark.parametrize(
    "below, said", [("", "runuser -u daemon -- mailward"), ("data", "may not reach the data folder")]
)
def test_a_stranger_is_told_as_whom_to_run_it(reachable: Path, below: str, said: str) -> None:
    os.chown(reachable, pwd.getpwnam("daemon").pw_uid, -1)
    child = os.fork()
    if not child:
        status = 1
        try:
            become_user()
            with pytest.raises(Problem, match=said):
                load_named(None, reachable / below)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
