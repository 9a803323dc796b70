"""`mailward database copy` loses nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.signer import report_json
from tests.ingest.conftest import json_body
from tests.postgresql import Server
from tests.prepared import prepare

from mailward.cli.serve import locked

ROOT = Path(__file__).parents[2]
# of each kind something: people, policies, reports with their bytes, problems, work, JSON, empty and absent values
FILL = """
import django; django.setup()
from mailward.net import clock
from mailward.store.models import *
from mailward.store.services.hosting import bump_generation
o = Organisation.objects.get()
u = User.objects.create_user("alice@example.test", "a-long-password", name="Alice \\u00e9")
Membership.objects.create(organisation=o, user=u, role=Role.OWNER)
d = Domain.objects.create(organisation=o, name="example.test", report_token="t", claim_token="c")
d.current_version = PolicyVersion.objects.create(
    organisation=o, domain=d, number=1, policy_id="1", mode="testing", max_age_seconds=86400, mx=["mx.test"], text="p")
d.save()
bump_generation(d.pk)
OutboxItem.objects.create(kind="watch", key="9", payload={"after": [1, None]}, available_at=clock.now())
"""

EACH_ROW = """
import json, sys
import django; django.setup()
from tests.every_row import every_row, fill_each_table
"""
KILLED = """
import os, signal, typer
from mailward.cli import database
def echo(text):
    print(text, flush=True)
    if text.endswith("store_report"):
        os.kill(os.getpid(), signal.SIGKILL)
database.typer.echo = echo
database.app(["copy"])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.remove()


def run(folder: Path, settings: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    own = {
        "MAILWARD_DATA": str(folder),
        "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, *command], env=kept | own | settings, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("filled") / "data")
    inbox = folder.parent / "inbox"
    inbox.mkdir()
    for number in range(45):
        (inbox / f"{number}.json").write_bytes(json_body(report_json(report_id=f"report {number}", failed=3)))
    for command in (
        ("-c", FILL),
        ("-m", "mailward", "report", "import", "--domain", "example.test", str(inbox)),
        ("-c", f"{EACH_ROW}fill_each_table()"),
    ):
        done = run(folder, {}, *command)
        assert done.returncode == 0, done.stderr
    return folder


def rows_of(folder: Path, settings: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    told = run(folder, settings, "-c", f"{EACH_ROW}json.dump(every_row(), sys.stdout)")
    assert told.returncode == 0, told.stderr
    rows: dict[str, list[dict[str, str]]] = json.loads(told.stdout)
    return rows


def counts_of_sqlite(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "mailward.sqlite3")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
            if not name.startswith("sqlite_")
        }


def test_each_value_of_each_table_is_what_it_was_and_numbers_go_on(filled: Path, server: Server) -> None:
    server.create("copied")
    settings = server.environment("copied")
    done = run(filled, settings, "-m", "mailward", "database", "copy")
    assert done.returncode == 0, done.stderr
    counts = counts_of_sqlite(filled)
    assert counts["store_report"] == counts["store_rawmessage"] == 45
    assert 0 not in counts.values(), "a table without a row shows nothing"
    after = {name: int(server.sql(f'SELECT count(*) FROM "{name}"', "copied")) for name in counts}
    assert after == counts
    copied = rows_of(filled, settings)
    for table, rows in rows_of(filled, {}).items():
        assert copied[table] == rows, table
    # a new row has a number that no other has, whoever gives it
    for table, column, sequence in numbered(server):
        last = int(server.sql(f'SELECT max("{column}") FROM "{table}"', "copied"))
        assert int(server.sql(f"SELECT nextval('{sequence}')", "copied")) == last + 1, table
    added = run(
        filled,
        settings,
        "-c",
        FILL.replace("example.test", "second.test")
        .replace('token="t"', 'token="u"')
        .replace('key="9"', 'key="10"'),
    )
    assert added.returncode == 0, added.stderr
    assert server.sql("SELECT count(DISTINCT id) FROM store_domain", "copied") == "2"


def numbered(server: Server) -> list[tuple[str, str, str]]:
    """The columns that PostgreSQL numbers, with the sequences that it counts by."""
    asked = """
        SELECT table_name, column_name, pg_get_serial_sequence(quote_ident(table_name), column_name)
        FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'YES'
        AND table_name != 'django_migrations'
    """
    found = [tuple(line.split("|")) for line in server.sql(asked, "copied").splitlines()]
    assert len(found) > 10
    return found  # type: ignore[return-value]  # three columns


def test_a_copy_that_is_killed_leaves_nothing_and_is_made_again(filled: Path, server: Server) -> None:
    server.create("killed")
    settings = server.environment("killed")
    # dies where the last table but one has been told, before anything is committed
    killed = run(filled, settings, "-c", KILLED)
    assert killed.returncode == -signal.SIGKILL
    assert "store_report\n" in killed.stdout
    assert server.sql("SELECT count(*) FROM store_report", "killed") == "0"
    again = run(filled, settings, "-m", "mailward", "database", "copy")
    assert again.returncode == 0, again.stderr
    assert server.sql("SELECT count(*) FROM store_report", "killed") == "45"


def test_an_empty_database_beside_a_file_in_use_is_not_started_on(
    filled: Path, server: Server, tmp_path: Path
) -> None:
    server.create("named")
    settings = server.environment("named")
    refused = run(filled, settings, "-m", "mailward", "serve")
    assert refused.returncode == 2
    assert "run mailward database copy" in refused.stderr
    assert f"move {filled / 'mailward.sqlite3'} away" in refused.stderr
    assert server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "named") == "0"
    # somebody did start on it, on a node that was never on SQLite, and made the tables
    assert run(tmp_path / "second", settings, "-m", "mailward", "_prepare").returncode == 0
    for command in ("serve", "_prepare"):
        assert "database copy" in run(filled, settings, "-m", "mailward", command).stderr
    told = run(filled, settings, "-m", "mailward", "doctor", "--only", "database", "--json")
    assert (told.returncode, "not-copied" in told.stdout) == (1, True)
    copied = run(filled, settings, "-m", "mailward", "database", "copy")
    assert copied.returncode == 0, copied.stderr
    assert run(filled, settings, "-m", "mailward", "_look-behind").returncode == 0
    assert "not-copied" not in run(filled, settings, "-m", "mailward", "doctor", "--json").stdout


def test_a_database_that_is_away_keeps_nothing_from_being_served(filled: Path, server: Server) -> None:
    assert run(filled, server.environment("away"), "-m", "mailward", "_look-behind").returncode == 0


def test_a_file_of_an_older_release_is_brought_up_to_this_one_as_the_refusal_says(
    server: Server, tmp_path: Path
) -> None:
    server.create("newer")
    data, settings = prepare(tmp_path / "data"), server.environment("newer")
    assert run(data, {}, "-c", FILL).returncode == 0
    assert run(data, {}, "-m", "mailward", "database", "migrate", "--to", "0.1.0").returncode == 0
    refused = run(data, settings, "-m", "mailward", "database", "copy")
    assert refused.returncode == 2
    assert "Take [database] out of the settings once: mailward database migrate" in refused.stderr
    assert run(data, {}, "-m", "mailward", "database", "migrate").returncode == 0
    assert run(data, settings, "-m", "mailward", "database", "copy").returncode == 0


def test_a_database_in_use_is_left_alone(filled: Path, server: Server) -> None:
    server.create("used")
    settings = server.environment("used")
    assert run(filled, settings, "-m", "mailward", "database", "copy").returncode == 0
    again = run(filled, settings, "-m", "mailward", "database", "copy")
    assert (again.returncode, again.stdout) == (2, "")
    assert "in use already" in again.stderr


def test_a_running_mailward_is_not_copied(filled: Path, server: Server) -> None:
    with locked(filled):
        done = run(filled, server.environment("nowhere"), "-m", "mailward", "database", "copy")
    assert done.returncode == 2
    assert "Mailward runs already on the data folder" in done.stderr


def test_a_file_of_another_folder_is_not_copied_while_mailward_runs_there(
    filled: Path, server: Server, tmp_path: Path
) -> None:
    server.create("elsewhere")
    settings = server.environment("elsewhere")
    command = ("-m", "mailward", "database", "copy", "--from", str(filled / "mailward.sqlite3"))
    with locked(filled):
        done = run(tmp_path / "new", settings, *command)
        assert done.returncode == 2
        assert f"Mailward runs already on the data folder {filled}" in done.stderr
    assert run(tmp_path / "new", settings, *command).returncode == 0


def test_what_postgresql_refuses_leaves_it_empty(filled: Path, server: Server, tmp_path: Path) -> None:
    server.create("refused")
    other = tmp_path / "other.sqlite3"
    with (
        closing(sqlite3.connect(filled / "mailward.sqlite3")) as database,
        closing(sqlite3.connect(other)) as spoilt,
    ):
        database.backup(spoilt)
        spoilt.execute("UPDATE store_report SET trust = ?", ("x" * 100,))
        spoilt.commit()
    done = run(
        filled, server.environment("refused"), "-m", "mailward", "database", "copy", "--from", str(other)
    )
    assert done.returncode == 2
    assert "value too long" in done.stderr
    assert server.sql("SELECT count(*) FROM store_user", "refused") == "0"


def test_who_looks_at_an_installation_whose_database_is_away_hears_why_once(tmp_path: Path) -> None:
    away = Server()
    settings = away.environment("away") | {"MAILWARD_DATABASE_HOST": str(tmp_path)}
    told = run(tmp_path / "data", settings, "-m", "mailward", "status")
    assert told.stderr == ""
    (line,) = [each for each in told.stdout.splitlines() if each.startswith("Database")]
    assert "No such file or directory" in line
