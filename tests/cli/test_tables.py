"""A database that cannot be used is refused with a sentence that says why."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgresql import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.remove()


def prepare(folder: Path, settings: dict[str, str], command: tuple[str, ...] = ("_prepare",)) -> str:
    """What it says; nothing where all is well."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    done = subprocess.run(
        [sys.executable, "-m", "mailward", *command],
        env=kept | {"MAILWARD_DATA": str(folder)} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (2 if done.stderr else 0)
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_a_server_that_is_away(tmp_path: Path) -> None:
    settings = {"MAILWARD_DATABASE_NAME": "mailward", "MAILWARD_DATABASE_HOST": str(tmp_path)}
    said = prepare(tmp_path / "data", settings)
    assert f"The PostgreSQL database mailward at {tmp_path} cannot be used: " in said
    assert "Is the server running locally" in said


def test_a_database_that_is_not_there(tmp_path: Path, server: Server) -> None:
    assert 'database "nowhere" does not exist.' in prepare(tmp_path, server.environment("nowhere"))


def test_a_database_of_somebody_else(tmp_path: Path, server: Server) -> None:
    server.create("theirs")
    server.sql("CREATE TABLE things (id int)", "theirs")
    said = prepare(tmp_path, server.environment("theirs"))
    assert said.endswith("holds tables that are not Mailward's, such as things. Name an empty one.")


def test_a_database_that_nobody_has_started(tmp_path: Path, server: Server) -> None:
    server.create("bare")
    said = prepare(tmp_path, server.environment("bare"), ("report", "import", "--domain", "a.test", "x"))
    assert said.endswith("lacks tables of this version. Start mailward serve, or restart it.")


def test_a_database_of_a_newer_mailward(tmp_path: Path, server: Server) -> None:
    server.create("newer")
    assert prepare(tmp_path, server.environment("newer")) == ""
    server.sql(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('store', '9999_later', now())", "newer"
    )
    said = prepare(tmp_path, server.environment("newer"))
    assert said.endswith("was changed by a newer Mailward (9999_later). Start that version.")
