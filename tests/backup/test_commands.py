"""`mailward backup` and `mailward restore`, as their operator types them."""

import base64
import gzip
import hashlib
import io
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psycopg
import pytest
from tests.postgresql import Server
from tests.prepared import prepare

from mailward.backup import BackupFault
from mailward.backup.making import check_space, working_folder
from mailward.backup.rotation import remove_old
from mailward.backup.seal import chosen_lock, read_passphrase
from mailward.config import Backup

pytestmark = pytest.mark.timeout(300)  # a process for each command


@dataclass
class Operator:
    """At a shell, with a data folder."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(
        self, *command: str | Path, output: BinaryIO | int = subprocess.PIPE
    ) -> "subprocess.CompletedProcess[bytes]":
        done = self.python("-m", "mailward", *command, output=output)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def python(
        self, *command: str | Path, output: BinaryIO | int = subprocess.PIPE
    ) -> "subprocess.CompletedProcess[bytes]":
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("MAILWARD", "DJANGO"))}
        own = {"MAILWARD_DATA": str(self.data), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        return subprocess.run(
            [sys.executable, *command],
            env=kept | own | self.settings,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )

    def does(self, *command: str | Path) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode() + done.stderr.decode()

    def fails(self, *command: str | Path) -> str:
        done = self.run(*command)
        assert done.returncode == 2
        return done.stderr.decode()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.data / "mailward.sqlite3")) as database, database:
            return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    operator = Operator(tmp_path_factory.mktemp("made"))
    prepare(operator.data)
    operator.rows("UPDATE store_hostinggeneration SET value = 41, zone_value = 41")
    operator.rows("INSERT INTO django_session VALUES ('session', 'data', '2099-01-01')")
    (operator.data / "tlsrpt-keys").mkdir()
    (operator.data / "tlsrpt-keys" / "s2026.pem").write_text("a key that signs\n")
    with closing(sqlite3.connect(operator.data / "sender.sqlite3")) as cache, cache:
        cache.execute("CREATE TABLE policy (domain TEXT)")
        cache.execute("INSERT INTO policy VALUES ('example.test')")
    return operator.data


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Operator:
    shutil.copytree(made, tmp_path / "old" / "data")
    return Operator(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "new")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.remove()


def test_what_is_restored_is_what_was_backed_up(old: Operator, new: Operator, tmp_path: Path) -> None:
    config = tmp_path / "mailward.toml"
    config.write_text('[reports]\ndomain = "reports.example.org"\n')
    file = tmp_path / "backup.tar.gz"
    old.does("backup", file, "--config", config)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new.does("restore", file)
    for name in ("key", "secret-key", "tlsrpt-keys/s2026.pem", "ca/ca.key"):
        assert (new.data / name).read_bytes() == (old.data / name).read_bytes(), name
    assert (new.data / "restored-settings.toml").read_text() == config.read_text()
    assert new.rows("SELECT name FROM store_organisation") == old.rows("SELECT name FROM store_organisation")
    with closing(sqlite3.connect(new.data / "sender.sqlite3")) as cache:
        assert cache.execute("SELECT domain FROM policy").fetchall() == [("example.test",)]
    assert not [path.name for path in new.data.iterdir() if path.name.startswith(".")]


def test_a_certificate_file_for_each_of_thousands_of_names(
    old: Operator, new: Operator, tmp_path: Path
) -> None:
    certs = old.data / "certs"
    certs.mkdir(exist_ok=True)
    names = [f"mta-sts.customer-of-a-provider-{number:05}.example.org.pem" for number in range(6_000)]
    for name in names:
        (certs / name).write_text("a certificate\n")
    old.does("backup", tmp_path / "backup.tar.gz")
    new.does("restore", tmp_path / "backup.tar.gz")
    assert sorted(path.name for path in (new.data / "certs").iterdir()) == names


def test_a_key_that_is_elsewhere_and_not_at_hand_is_missed_and_the_backup_made(
    old: Operator, tmp_path: Path
) -> None:
    [key] = (old.data / "key").read_text().split()
    old.rows(ACCOUNT.format(f"x'{sealed_by(key)}'"))
    old.does("backup", tmp_path / "with")
    (old.data / "key").rename(tmp_path / "key")
    missed = "open by no key that is at hand"
    assert missed in old.fails("backup", tmp_path / "without")
    said = old.does("backup", "verify", tmp_path / "without")
    assert "Not in it: the key that opens the private keys in the database" in said
    (old.data / "key").write_text(f"{'A' * 43}=\n")
    assert missed in old.fails("backup", tmp_path / "another"), (
        "made by a command that was not told of the first"
    )
    old.settings["MAILWARD_KEY_FILE"] = str(tmp_path / "key")
    old.does("backup", tmp_path / "named")


ACCOUNT = (
    "INSERT INTO store_acmeaccount (directory, key, url, failures, last_error, created_at) "
    "VALUES ('https://ca.example/', {}, '', 0, '', '2026-11-30')"
)


def sealed_by(key: str) -> str:
    """In hexadecimal: form, identifier of the key as mailward.net.sealing makes it, and something sealed."""
    identifier = hashlib.sha256(b"mailward key identifier\0" + base64.b64decode(key)).hexdigest()[:16]
    return f"01{identifier}{'00' * 40}"


def test_serials_go_on_beyond_what_was_seen_and_nobody_is_signed_in(
    old: Operator, new: Operator, tmp_path: Path
) -> None:
    old.does("backup", tmp_path / "backup")
    old.rows("UPDATE store_hostinggeneration SET value = 900000, zone_value = 900000")
    new.does("restore", tmp_path / "backup")
    [(value, serial)] = new.rows("SELECT value, zone_value FROM store_hostinggeneration")
    assert value == serial
    assert isinstance(serial, int)
    assert 900_000 < serial < 41 + 2**31, "newer than what secondaries have seen (RFC 1982)"
    assert new.rows("SELECT * FROM django_session") == []
    assert old.rows("SELECT count(*) FROM django_session") == [(1,)]


def test_an_existing_file_is_never_replaced(old: Operator, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("precious")
    assert "is there already" in old.fails("backup", tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2, "no half of one stays"


def test_in_a_folder_the_oldest_go_and_other_files_stay(old: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in range(3):
        path = folder / f"mailward-2026010{number + 1}T000000Z.tar.gz"
        path.write_text("old")
        os.utime(path, (number, number))
    (folder / "notes.txt").write_text("mine")
    old.does("backup", folder, "--keep", "2")
    left = sorted(path.name for path in folder.iterdir())
    assert left[0] == "mailward-20260103T000000Z.tar.gz"
    assert len(left) == 3
    assert left[2] == "notes.txt"
    assert "is none" in old.fails("backup", tmp_path / "file", "--keep", "2")


def test_a_backup_that_is_old_and_stays_is_named_and_the_new_one_is_said_to_be_made(
    old: Operator, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in (1, 2, 3):
        path = folder / f"mailward-2026010{number}T000000Z.tar.gz"
        path.write_text("old")
        os.utime(path, (number, number))
    oldest = folder / "mailward-20260101T000000Z.tar.gz"
    # the kernel removes no file that something is mounted on
    script = 'mount --bind "$1" "$1" && exec "$3" -m mailward backup "$2" --keep 2'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", oldest, folder, sys.executable],
        env=os.environ | {"MAILWARD_DATA": str(old.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "The backup was made, but" in said
    assert f"{oldest} is old and cannot be removed: Device or resource busy" in said
    left = sorted(path.name for path in folder.iterdir())
    assert left[:2] == [oldest.name, "mailward-20260103T000000Z.tar.gz"]
    assert len(left) == 3


def test_the_one_just_made_stays_where_the_clock_was_put_back(tmp_path: Path) -> None:
    made, wrong = (tmp_path / f"mailward-{day}T000000Z.tar.gz" for day in ("20260101", "20350101"))
    for path, when in ((made, 1), (wrong, 2)):
        path.write_text("a backup")
        os.utime(path, (when, when))
    assert remove_old(made, 1) == [wrong]
    assert made.exists()


def test_what_killed_runs_left_goes_and_what_is_being_written_stays(old: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for number in (1, 2):
        (folder / f".mailward-2026010{number}T000000Z.tar.gz.age.{number}.partial").write_text("half")
    os.utime(folder / ".mailward-20260101T000000Z.tar.gz.age.1.partial", (1, 1))
    old.does("backup", folder)
    assert [path.name for path in folder.glob(".*")] == [".mailward-20260102T000000Z.tar.gz.age.2.partial"]
    # in a container each start has the same number
    left = old.data / f".backup-{os.getpid()}-left"
    left.mkdir()
    with working_folder(old.data):
        assert not left.exists()


def test_a_backup_without_the_database_is_refused_and_removes_no_good_one(old: Operator) -> None:
    old.does("backup")
    [good] = (old.data / "backups").iterdir()
    (old.data / "mailward.sqlite3").write_bytes(b"")
    assert "has no tables" in old.fails("backup", "--keep", "1")
    (old.data / "mailward.sqlite3").unlink()
    assert "is not there" in old.fails("backup", "--keep", "1")
    assert "is not there" in old.run("backup", "-").stderr.decode()
    assert list((old.data / "backups").iterdir()) == [good]
    # a host of the sender alone has none
    (old.data / "secret-key").unlink()
    old.does("backup")


def test_to_a_pipe_and_opened_by_other_tools(old: Operator) -> None:
    done = old.run("backup", "-")
    assert done.returncode == 0
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert tar.getnames()[0] == "manifest.json"
        key = tar.extractfile("data/key")
        assert key is not None
        assert key.read() == (old.data / "key").read_bytes()
    assert b"Not in it: a settings file" in done.stderr


def test_sealed_for_a_recipient_and_by_a_passphrase(old: Operator, new: Operator, tmp_path: Path) -> None:
    identity, phrase = tmp_path / "identity", tmp_path / "phrase"
    identity.write_text(old.does("backup", "key"))
    phrase.write_text("correct horse\n")
    old.settings["MAILWARD_BACKUP_RECIPIENTS"] = identity.read_text().split()[2]
    old.does("backup", tmp_path / "one")
    old.does("backup", tmp_path / "two", "--passphrase-file", phrase)
    assert "--identity" in new.fails("restore", tmp_path / "one")
    assert "--passphrase-file" in new.fails("backup", "verify", tmp_path / "two", "--identity", identity)
    assert "data/key" in new.does("backup", "verify", tmp_path / "two", "--passphrase-file", phrase)
    (tmp_path / "wrong").write_text("# mine\nnone\n")
    said = new.fails("backup", "verify", tmp_path / "one", "--identity", tmp_path / "wrong")
    assert f"{tmp_path / 'wrong'}: line 2: this is not an identity" in said
    new.does("restore", tmp_path / "one", "--identity", identity)
    assert (new.data / "key").read_bytes() == (old.data / "key").read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no passphrase"),
        (b"\nsecond line\n", "holds no passphrase"),
        (b"\xff\xfe", "no text in UTF-8"),
        (bytes(5000), "more than 4096 octets"),
    ],
    ids=["empty", "first line empty", "no text", "endless"],
)
def test_a_file_that_holds_no_passphrase_is_said_to(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "phrase").write_bytes(content)
    with pytest.raises(BackupFault, match=reason):
        read_passphrase(tmp_path / "phrase")


def test_a_passphrase_file_of_the_settings_is_told_as_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BackupFault, match=r"backup\.passphrase_file: .*/none cannot be read: No such file"):
        chosen_lock(Backup(passphrase_file=str(tmp_path / "none")))


def test_the_end_of_the_line_is_no_part_of_the_passphrase(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_bytes("\u00e4 b \r\nsecond".encode())
    assert read_passphrase(tmp_path / "phrase") == "\u00e4 b "


def test_a_folder_in_use_is_refused_or_moved_aside(old: Operator, tmp_path: Path) -> None:
    old.does("backup", tmp_path / "backup")
    old.rows("UPDATE store_organisation SET name = 'later'")
    assert "is not empty" in old.fails("restore", tmp_path / "backup")
    assert old.rows("SELECT name FROM store_organisation") == [("later",)]
    old.does("restore", tmp_path / "backup", "--replace")
    assert old.rows("SELECT name FROM store_organisation") != [("later",)]
    [aside] = old.data.glob("before-restore-*")
    assert (aside / "mailward.sqlite3").exists()


def test_a_backup_that_was_altered_restores_nothing(old: Operator, new: Operator, tmp_path: Path) -> None:
    old.does("backup", tmp_path / "backup")
    plain = bytearray(gzip.decompress((tmp_path / "backup").read_bytes()))
    plain[plain.rindex((old.data / "secret-key").read_bytes())] ^= 1
    (tmp_path / "backup").write_bytes(gzip.compress(bytes(plain)))
    for command in ("restore", "backup verify"):
        assert "data/secret-key was altered" in new.fails(*command.split(), tmp_path / "backup")
    assert [path.name for path in new.data.iterdir()] == ["lock"]


def test_a_backup_of_a_newer_release_is_refused(old: Operator, new: Operator, tmp_path: Path) -> None:
    old.rows(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('store', '9999_later', '2027-01-01')"
    )
    old.does("backup", tmp_path / "backup")
    assert "newer Mailward" in new.fails("restore", tmp_path / "backup")
    assert [path.name for path in new.data.iterdir()] == ["lock"]


def test_a_backup_of_an_older_release_is_brought_up(old: Operator, new: Operator, tmp_path: Path) -> None:
    old.does("database", "migrate", "--to", "0.1.0")
    old.does("backup", tmp_path / "backup")
    new.does("restore", tmp_path / "backup")
    assert "as they should be" in new.does("database", "migrate")


def test_a_damaged_database_is_no_backup(old: Operator, tmp_path: Path) -> None:
    file = old.data / "mailward.sqlite3"
    with file.open("r+b") as opened:
        opened.seek(8192 * 5)
        opened.write(b"\xff" * 8192 * 10)
    old.fails("backup", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_full_disk_is_said_and_leaves_nothing(old: Operator) -> None:
    with pytest.raises(BackupFault, match="MiB left"):
        check_space(old.data, 1 << 60)
    with Path("/dev/full").open("wb") as full:
        done = old.run("backup", "-", output=full)
    assert (done.returncode, done.stderr.count(b"No space left on device")) == (2, 1)
    assert not list(old.data.glob(".backup*"))


def test_it_is_consistent_while_everybody_writes(old: Operator, new: Operator, tmp_path: Path) -> None:
    """Two rows that are always equal, changed in one transaction each time; and the last one before the start is in."""
    old.rows("CREATE TABLE pair (one INTEGER, other INTEGER)")
    old.rows("INSERT INTO pair VALUES (0, 0)")
    over, committed = threading.Event(), [0]

    def write() -> None:
        with closing(sqlite3.connect(old.data / "mailward.sqlite3", timeout=10)) as database:
            while not over.is_set():
                with database:
                    database.execute("UPDATE pair SET one = one + 1")
                    database.execute("UPDATE pair SET other = other + 1")
                committed[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while committed[0] < 5:
            pass
        begun = committed[0]
        old.does("backup", tmp_path / "backup")
        ended = committed[0]
    finally:
        over.set()
        writer.join()
    assert ended > begun, "it kept nobody from writing"
    new.does("restore", tmp_path / "backup")
    [(one, other)] = new.rows("SELECT one, other FROM pair")
    assert one == other
    assert isinstance(one, int)
    assert begun <= one <= ended + 1


def test_postgresql_by_its_own_tools(server: Server, tmp_path: Path) -> None:
    for name in ("before", "after", "used", "odd"):
        server.create(name)
    old = Operator(tmp_path / "old", server.environment("before"))
    old.does("_prepare")
    server.sql("UPDATE store_organisation SET name = 'kept \u00e9'", "before")
    old.does("backup", tmp_path / "backup")
    assert "database.dump" in old.does("backup", "verify", tmp_path / "backup")
    server.sql(ACCOUNT.format(f"decode('{sealed_by('A' * 43 + '=')}', 'hex')"), "before")
    assert "open by no key that is at hand" in old.fails("backup", tmp_path / "keyless")
    new = Operator(tmp_path / "new", server.environment("after"))
    new.does("restore", tmp_path / "backup")
    assert server.sql("SELECT name FROM store_organisation", "after") == "kept \u00e9"
    assert int(server.sql("SELECT zone_value FROM store_hostinggeneration", "after")) > 2**24
    assert (new.data / "key").read_bytes() == (old.data / "key").read_bytes()
    assert "as they should be" in new.does("database", "migrate")
    server.sql("CREATE TABLE theirs (id int)", "used")
    other = Operator(tmp_path / "other", server.environment("used"))
    assert "is not empty" in other.fails("restore", tmp_path / "backup")
    # no table, so it counts as empty, and the dump cannot be loaded beside it
    server.sql("CREATE VIEW store_organisation AS SELECT 1", "odd")
    (tmp_path / "odd" / "data").mkdir(parents=True)
    (tmp_path / "odd" / "data" / "key").write_text("in use\n")
    odd = Operator(tmp_path / "odd", server.environment("odd"))
    assert "Nothing was restored" in odd.fails("restore", tmp_path / "backup", "--replace")
    assert (odd.data / "key").read_text() == "in use\n", "nothing, that is: what was there is still there"
    alone = Operator(tmp_path / "alone")
    assert "the settings name none" in alone.fails("restore", tmp_path / "backup")


KILLED = """
import os, signal, sys
from mailward.cli import restore
setattr(restore, sys.argv[1], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
restore.app(sys.argv[2:])
"""


@pytest.mark.parametrize("step", ["move_aside", "_go_on", "give_to_owner"])
def test_a_restore_that_is_killed_is_started_on_by_nobody_and_repeated(
    old: Operator, new: Operator, tmp_path: Path, step: str
) -> None:
    old.does("backup", tmp_path / "backup")
    killed = new.python("-c", KILLED, step, tmp_path / "backup")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "was cut short" in new.fails("serve")
    new.does("restore", tmp_path / "backup")
    assert new.rows("SELECT value > 41 FROM store_hostinggeneration") == [(1,)]
    assert (new.data / "key").read_bytes() == (old.data / "key").read_bytes()
    assert not list(new.data.glob(".*"))


FULL = """
import sys
from mailward.cli import main, restore

def fail(*_):
    raise OSError(28, "No space left on device")

restore.put_in_place = fail
main(["restore", *sys.argv[1:]])
"""


def test_a_restore_that_fails_half_way_does_not_say_that_nothing_was_done(
    old: Operator, new: Operator, tmp_path: Path
) -> None:
    old.does("backup", tmp_path / "backup")
    failed = new.python("-c", FULL, tmp_path / "backup")
    assert failed.returncode == 2
    assert b"Not all was restored, and the same command goes on: " in failed.stderr
    new.does("restore", tmp_path / "backup")


@pytest.mark.parametrize("step", ["move_aside", "put_in_place", "give_to_owner"])
def test_a_restore_into_postgresql_that_is_killed_is_repeated(
    server: Server, tmp_path: Path, step: str
) -> None:
    server.create(f"whole_{step}")
    server.create(f"cut_{step}")
    old = Operator(tmp_path / "old", server.environment(f"whole_{step}"))
    old.does("_prepare")
    old.does("backup", tmp_path / "backup")
    # two dumps of the same second are the same
    server.sql("UPDATE store_organisation SET name = 'another'", f"whole_{step}")
    old.does("backup", tmp_path / "another")
    new = Operator(tmp_path / "new", server.environment(f"cut_{step}"))
    new.data.mkdir(parents=True)
    (new.data / "key").write_text("of before\n")
    killed = new.python("-c", KILLED, step, tmp_path / "backup", "--replace")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert server.sql("SELECT count(*) FROM store_organisation", f"cut_{step}") == "1"
    assert "was cut short" in new.fails("serve")
    refused = new.fails("restore", tmp_path / "another", "--replace")
    assert f"dropdb cut_{step} && createdb --owner=mailward cut_{step}" in refused
    new.does("restore", tmp_path / "backup")
    assert (new.data / "key").read_bytes() == (old.data / "key").read_bytes()
    assert not list(new.data.glob(".*"))
    assert 2**24 < int(server.sql("SELECT zone_value FROM store_hostinggeneration", f"cut_{step}")) < 2**31


def test_postgresql_is_consistent_while_everybody_writes(server: Server, tmp_path: Path) -> None:
    for name in ("busy", "quiet"):
        server.create(name)
    old = Operator(tmp_path / "old", server.environment("busy"))
    old.does("_prepare")
    # two tables of which the one is written first and the other one last in the dump, and that are always equal
    server.sql("CREATE TABLE a_pair (one int); CREATE TABLE z_pair (one int)", "busy")
    server.sql("ALTER TABLE a_pair OWNER TO mailward; ALTER TABLE z_pair OWNER TO mailward", "busy")
    server.sql("INSERT INTO a_pair VALUES (0); INSERT INTO z_pair VALUES (0)", "busy")
    over, committed = threading.Event(), [0]

    def write() -> None:
        with psycopg.connect(host=str(server.folder), user="mailward", dbname="busy") as database:
            while not over.is_set():
                database.execute("UPDATE a_pair SET one = one + 1")
                database.execute("UPDATE z_pair SET one = one + 1")
                database.commit()
                committed[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse\n")
    try:
        while committed[0] < 5:
            pass
        begun = committed[0]
        old.does("backup", tmp_path / "backup", "--passphrase-file", phrase)
        ended = committed[0]
    finally:
        over.set()
        writer.join()
    assert ended > begun, "it kept nobody from writing"
    new = Operator(tmp_path / "new", server.environment("quiet"))
    new.does("restore", tmp_path / "backup", "--passphrase-file", phrase)
    one, other = (int(server.sql(f"SELECT one FROM {name}_pair", "quiet")) for name in "az")
    assert one == other
    assert begun <= one <= ended + 1


def test_an_sqlite_backup_goes_to_postgresql_by_way_of_the_folder(
    old: Operator, new: Operator, server: Server, tmp_path: Path
) -> None:
    server.create("taken")
    old.does("backup", tmp_path / "backup")
    new.settings |= server.environment("taken")
    assert "mailward database copy" in new.fails("restore", tmp_path / "backup")
    new.settings.clear()
    new.does("restore", tmp_path / "backup")
    new.settings |= server.environment("taken")
    new.does("database", "copy")
    names = server.sql("SELECT name FROM store_organisation", "taken")
    assert [(names,)] == old.rows("SELECT name FROM store_organisation")
