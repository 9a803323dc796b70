"""Tables of a database in use change after a backup; the change can be tried on a copy, and undone."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db.migrations import AddField, CreateModel
from tests.postgresql import Server
from tests.store.test_expanding import new_operations

import mailward.store.migrations
from mailward.backup import BackupFault
from mailward.backup.making import working_folder
from mailward.backup.postgresql import access_of
from mailward.backup.scratch import copy_name, drop_left_copy, scratch_copy
from mailward.config import Database, Settings
from mailward.store.copying import tables

# a later release: one migration more, which changes rows through Django's default connection, as ours do
LATER = """
from django.db import migrations, models
def mark(apps, editor):
    apps.get_model("store", "Organisation").objects.update(report_token="changed")
def back(apps, editor):
    apps.get_model("store", "Organisation").objects.update(report_token="changed-back")
class Migration(migrations.Migration):
    dependencies = [("store", "{last}")]
    operations = [
        migrations.AddField("organisation", "motto", models.TextField(default="none")),
        migrations.RunPython(mark{back}),
    ]
"""

ROOT = Path(__file__).parents[2]
EACH_ROW = """
import json, sys
import django; django.setup()
from tests.every_row import every_row, fill_each_table
"""

pytestmark = pytest.mark.timeout(300)  # a process for each command


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.remove()


@dataclass
class Release:
    """An installation, and the release that is run on it: this one, or a later one."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def become_later(self, *, back: str = ", back") -> None:
        package = self.folder / "code" / "later"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            "import mailward.store.migrations as known\n__path__ = [*known.__path__, *__path__]\n"
        )
        last = max(path.stem for path in Path(mailward.store.migrations.__path__[0]).glob("0*.py"))
        (package / "9999_motto.py").write_text(LATER.format(last=last, back=back))
        (package.parent / "later_settings.py").write_text(
            "from mailward.web.settings import *\nMIGRATION_MODULES = {'store': 'later'}\n"
        )

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return self._run("-m", "mailward", *command)

    def python(self, code: str) -> str:
        done = self._run("-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("MAILWARD", "DJANGO"))}
        later = self.folder / "code"
        own = {
            "MAILWARD_DATA": str(self.data),
            "DJANGO_SETTINGS_MODULE": "later_settings" if later.exists() else "mailward.web.settings",
            "PYTHONPATH": f"{later}:{ROOT}",
        }
        done = subprocess.run(
            [sys.executable, *command],
            env=kept | own | self.settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def backups(self) -> list[Path]:
        return sorted((self.data / "backups").glob("before-9999*"))

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.data / "mailward.sqlite3")) as database, database:
            return database.execute(statement).fetchall()

    def token(self) -> object:
        return self.rows("SELECT report_token FROM store_organisation")[0][0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = Release(tmp_path_factory.mktemp("made"))
    assert release.run("_prepare").returncode == 0
    release.rows("UPDATE store_organisation SET report_token = 'as it was'")
    return release.data


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Release:
    """A copy, made once."""
    shutil.copytree(made, tmp_path / "data")
    return Release(tmp_path)


def test_a_first_start_and_a_start_without_change_make_no_backup(release: Release) -> None:
    assert not (release.data / "backups").exists()
    assert release.run("_prepare").returncode == 0
    assert not (release.data / "backups").exists()


def test_a_start_that_changes_the_tables_makes_a_backup_of_how_they_were(release: Release) -> None:
    release.become_later()
    assert release.run("_prepare").returncode == 0
    assert release.token() == "changed"
    [backup] = release.backups()
    told = release.run("backup", "verify", str(backup))
    assert told.returncode == 0
    assert "9999_motto" not in told.stdout


def test_the_passphrase_seals_that_backup_too_and_without_it_nothing_changes(release: Release) -> None:
    release.become_later()
    phrase = release.folder / "phrase"
    release.settings["MAILWARD_BACKUP_PASSPHRASE_FILE"] = str(phrase)
    refused = release.run("_prepare")
    assert (refused.returncode, release.token()) == (2, "as it was")
    assert f"{phrase}" in refused.stderr
    phrase.write_text("correct horse\n")
    assert release.run("_prepare").returncode == 0
    [backup] = release.backups()
    assert backup.read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
    assert release.run("backup", "verify", str(backup)).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files away")
def test_what_root_changes_stays_the_services(release: Release) -> None:
    service = 8461
    for path in (release.data, *release.data.rglob("*")):
        os.chown(path, service, service)
    release.become_later()
    assert release.run("database", "migrate").returncode == 0
    assert release.backups()
    assert {path.name for path in release.data.rglob("*") if path.stat().st_uid != service} == set()


def test_where_the_folder_of_backups_cannot_be_written_the_backup_is_in_the_data_folder(
    release: Release,
) -> None:
    release.become_later()
    release.settings["MAILWARD_BACKUP_FOLDER"] = "/proc/backups"  # nobody makes one there, root neither
    started = release.run("_prepare")
    assert (started.returncode, release.token()) == (0, "changed")
    assert "backup-elsewhere" in started.stderr
    assert "backup.folder /proc/backups cannot be written" in started.stderr
    [backup] = release.backups()
    assert release.run("backup", "verify", str(backup)).returncode == 0


def test_without_a_backup_nothing_changes_unless_the_operator_says_so(release: Release) -> None:
    release.become_later()
    (release.data / "backups").write_text("in the way")
    refused = release.run("_prepare")
    assert (refused.returncode, release.token()) == (2, "as it was")
    assert "backup before that failed" in refused.stderr
    (release.data / "backups").unlink()
    release.settings["MAILWARD_BACKUP_PASSPHRASE_FILE"] = str(release.folder / "none")
    refused = release.run("_prepare")
    assert (refused.returncode, release.token()) == (2, "as it was")
    assert "backup before that failed: backup.passphrase_file: " in refused.stderr
    release.settings["MAILWARD_BACKUP_BEFORE_MIGRATIONS"] = "false"
    assert release.run("_prepare").returncode == 0
    assert release.token() == "changed"


def test_a_rehearsal_tells_and_changes_nothing(release: Release) -> None:
    release.become_later()
    before = (release.data / "mailward.sqlite3").read_bytes()
    told = release.run("database", "migrate", "--dry-run")
    assert "store.9999_motto\n" in told.stdout
    assert "The database itself was not changed." in told.stdout
    assert (release.data / "mailward.sqlite3").read_bytes() == before
    assert release.token() == "as it was"
    assert not list(release.data.glob(".rehearsal*"))


def test_a_rehearsal_on_a_copy_of_postgresql(tmp_path: Path, server: Server) -> None:
    server.create("rehearsed")
    release = Release(tmp_path, server.environment("rehearsed"))
    assert release.run("_prepare").returncode == 0
    server.sql("UPDATE store_organisation SET report_token = 'as it was'", "rehearsed")
    release.become_later()
    told = release.run("database", "migrate", "--dry-run")
    assert "store.9999_motto\n" in told.stdout, told.stderr
    asked = "SELECT report_token FROM store_organisation"
    assert server.sql(asked, "rehearsed") == "as it was"
    assert server.sql("SELECT count(*) FROM pg_database WHERE datname = 'rehearsed_rehearsal'") == "0"
    assert release.run("_prepare").returncode == 0
    assert server.sql(asked, "rehearsed") == "changed"
    assert len(release.backups()) == 1


COPIES = "SELECT count(*) FROM pg_database WHERE datname = 'killed_rehearsal'"


def test_what_a_killed_rehearsal_left_goes_and_nothing_else_of_that_name(
    tmp_path: Path, server: Server
) -> None:
    server.create("killed")
    release = Release(tmp_path, server.environment("killed"))
    assert release.run("_prepare").returncode == 0
    settings = Settings(
        database=Database(name="killed", host=str(server.folder), user="mailward"), data=str(release.data)
    )

    def rehearse_and_be_killed() -> None:
        pid = os.fork()
        if not pid:
            with working_folder(settings.data_path, ".rehearsal-") as folder:
                copying = scratch_copy(access_of(settings), folder)
                copying.__enter__()
                os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert server.sql(COPIES) == "1"

    rehearse_and_be_killed()
    assert list(release.data.glob(".rehearsal-*"))
    assert release.run("_prepare").returncode == 0, "a start"
    assert server.sql(COPIES) == "0"
    assert not list(release.data.glob(".rehearsal-*"))
    rehearse_and_be_killed()
    with scratch_copy(access_of(settings), tmp_path) as name:
        assert name == "killed_rehearsal"
        with pytest.raises(BackupFault, match="is under way"), scratch_copy(access_of(settings), tmp_path):
            pass
    assert server.sql(COPIES) == "0"
    server.sql("CREATE DATABASE killed_rehearsal OWNER mailward")
    drop_left_copy(access_of(settings))
    with pytest.raises(BackupFault, match="look at it"), scratch_copy(access_of(settings), tmp_path):
        pass
    assert server.sql(COPIES) == "1", "somebody made it, and did not say that it is ours"


def test_the_copy_of_a_database_has_a_name_that_postgresql_does_not_cut_off() -> None:
    assert copy_name("mailward") == "mailward_rehearsal"
    assert copy_name("é" * 31) == "é" * 26 + "_rehearsal"
    with pytest.raises(BackupFault, match="its copy"):
        copy_name("a" * 53 + "_rehearsal")


def test_who_may_make_no_database_is_told_so(tmp_path: Path, server: Server) -> None:
    server.create("narrow")
    release = Release(tmp_path, server.environment("narrow"))
    assert release.run("_prepare").returncode == 0
    server.sql("ALTER ROLE mailward NOCREATEDB")
    try:
        told = release.run("database", "migrate", "--dry-run")
    finally:
        server.sql("ALTER ROLE mailward CREATEDB")
    assert told.returncode == 2
    assert "CREATEDB" in told.stderr


def test_stepping_back_to_the_release_before_undoes_every_migration_since(release: Release) -> None:
    release.become_later()
    assert release.run("database", "migrate").returncode == 0
    assert release.token() == "changed"
    told = release.run("database", "migrate", "--to", "0.1.0")
    assert "store.9999_motto undone" in told.stdout, told.stderr
    assert release.token() == "changed-back"
    [(last,)] = release.rows("SELECT max(name) FROM django_migrations WHERE app = 'store'")
    assert last == "0016_own_names"
    assert len(release.backups()) == 2, "one before each of the two changes"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_stepping_back_and_forward_again_loses_nothing_that_the_older_release_knows(
    release: Release, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        server: Server = request.getfixturevalue("server")
        server.create("back")
        release.settings |= server.environment("back")
        assert release.run("_prepare").returncode == 0
    known, added = tables_of_0_1_0()
    assert release.python(f"{EACH_ROW}fill_each_table()") == ""
    before = json.loads(release.python(f"{EACH_ROW}json.dump(every_row(), sys.stdout)"))
    back = release.run("database", "migrate", "--to", "0.1.0")
    assert back.returncode == 0, back.stderr
    release.settings["MAILWARD_BACKUP_BEFORE_MIGRATIONS"] = "false"
    forward = release.run("database", "migrate")
    assert forward.returncode == 0, forward.stderr
    after = json.loads(release.python(f"{EACH_ROW}json.dump(every_row(), sys.stdout)"))
    assert {table for table, rows in after.items() if not rows} == set(after) - known
    for table in known:
        lost = {
            name
            for was, row in zip(before[table], after[table], strict=True)
            for name in was
            if was[name] != row[name]
        }
        assert lost <= added[table], table


def tables_of_0_1_0() -> tuple[set[str], dict[str, set[str]]]:
    """Those that it knew, and to each the columns that were added since."""
    operations = [operation for _, operation in new_operations()]
    made = {each.name.lower() for each in operations if isinstance(each, CreateModel)}
    added: dict[str, set[str]] = defaultdict(set)
    for each in operations:
        if isinstance(each, AddField):
            added[f"store_{each.model_name.lower()}"].add(each.name)
    return {table._meta.db_table for table in tables()} - {f"store_{name}" for name in made}, added


def test_what_cannot_be_undone_is_refused_before_anything_changes(release: Release) -> None:
    release.become_later(back="")
    assert release.run("database", "migrate").returncode == 0
    refused = release.run("database", "migrate", "--to", "0.1.0")
    assert (refused.returncode, release.token()) == (2, "changed")
    assert "9999_motto cannot be undone" in refused.stderr


def test_a_release_that_nobody_knows_is_refused(release: Release) -> None:
    refused = release.run("database", "migrate", "--to", "0.0.9")
    assert refused.returncode == 2
    assert "'0.0.9' is no release" in refused.stderr


def test_so_many_backups_are_kept_as_the_settings_say(release: Release) -> None:
    release.settings["MAILWARD_BACKUP_KEEP_BEFORE_MIGRATIONS"] = "1"
    release.become_later()
    release.run("database", "migrate")
    [first] = release.backups()
    release.run("database", "migrate", "--to", "0.1.0")
    [second] = release.backups()
    assert first != second
