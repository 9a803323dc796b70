"""`mailward database copy` loses nothing."""

import os
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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.remove()


def run(folder: Path, settings: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    own = {"MAILWARD_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
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
    ):
        done = run(folder, {}, *command)
        assert done.returncode == 0, done.stderr
    return folder


def counts_of_sqlite(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "mailward.sqlite3")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
            if not name.startswith("sqlite_")
        }


def test_each_table_has_what_it_had_and_numbers_go_on(filled: Path, server: Server) -> None:
    server.create("copied")
    settings = server.environment("copied")
    done = run(filled, settings, "-m", "mailward", "database", "copy")
    assert done.returncode == 0, done.stderr
    before = counts_of_sqlite(filled)
    after = {name: int(server.sql(f'SELECT count(*) FROM "{name}"', "copied")) for name in before}
    assert after == before
    assert before["store_report"] == before["store_rawmessage"] == 45
    with closing(sqlite3.connect(filled / "mailward.sqlite3")) as database:
        [(bytes_before,)] = database.execute("SELECT group_concat(hex(content), '') FROM store_rawmessage")
    bytes_after = server.sql("SELECT string_agg(encode(content, 'hex'), '') FROM store_rawmessage", "copied")
    assert sorted(bytes_after) == sorted(bytes_before.lower())
    assert (
        server.sql("SELECT payload->'after'->0 FROM store_outboxitem WHERE kind = 'watch'", "copied") == "1"
    )
    # a new row has a number that no other has
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
