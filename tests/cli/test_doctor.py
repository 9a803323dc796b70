"""`mailward doctor` and `mailward status`, as the operator runs them: on what runs, what is down, what is broken."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_serve import Platform, until

Done = subprocess.CompletedProcess[str]
QUIET = {"MAILWARD_DNS_RESOLVERS": "127.0.0.1:9"}


def run(data: Path, *arguments: str, **environment: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    command = [sys.executable, "-m", "mailward", *arguments, "--data", str(data)]
    return subprocess.run(
        command, env=kept | QUIET | environment, capture_output=True, text=True, timeout=60, check=False
    )


def codes(done: Done) -> dict[str, str]:
    """Code -> text of notes and problems."""
    assert not done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["code"]: each["text"] for each in found if each["grade"] in ("advice", "problem")}


def doctor(data: Path, *only: str) -> dict[str, str]:
    words = [word for name in only for word in ("--only", name)]
    return codes(run(data, "doctor", "--json", *words))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "data"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    environment = kept | {"MAILWARD_DATA": str(folder)}
    subprocess.run([sys.executable, "-m", "mailward", "_prepare"], env=environment, check=True, stdout=-1)
    return folder


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


def test_a_folder_that_is_not_there_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    done = run(tmp_path / "absent", "doctor", "--only", "running", "--only", "database", "--only", "host")
    assert (done.returncode, "Mailward does not run" in done.stdout) == (1, True)
    assert run(tmp_path / "absent", "status").returncode == 1
    assert not (tmp_path / "absent").exists()


def test_a_look_changes_no_file(data: Path) -> None:
    before = stamps(data)
    run(data, "doctor", "--only", "host", "--only", "database", "--only", "inbound", "--only", "queues")
    assert stamps(data) == before


def stamps(data: Path) -> dict[Path, int]:
    # SQLite makes its log where it finds none, for the owner of the database, and writes nothing into it
    files = [
        path
        for path in data.rglob("*")
        if path.is_file() and path.suffix not in (".sqlite3-shm", ".sqlite3-wal")
    ]
    assert not any(path.stat().st_size for path in data.glob("*-wal"))
    return {path: path.stat().st_mtime_ns for path in files}


def test_a_sound_database_of_a_service_that_is_down_is_well(data: Path) -> None:
    assert list(doctor(data, "running", "database", "queues")) == ["not-running"]


def test_a_damaged_database_is_told(data: Path) -> None:
    file = data / "mailward.sqlite3"
    content = bytearray(file.read_bytes())
    content[40 * 8192 : 60 * 8192] = bytes(20 * 8192)
    file.write_bytes(content)
    assert "damaged" in doctor(data, "database")


def test_what_is_no_database_at_all_is_told_and_the_rest_goes_on(data: Path) -> None:
    (data / "mailward.sqlite3").write_bytes(b"not a database" * 1000)
    found = doctor(data, "database", "queues", "running", "disk")
    assert "file is not a database" in found["damaged"]
    assert set(found) == {"damaged", "not-running"}


def test_a_database_that_is_empty_or_gone_where_mailward_was_used_is_told(data: Path) -> None:
    (data / "secret-key").touch()
    (data / "mailward.sqlite3").write_bytes(b"")
    assert "is empty" in doctor(data, "database")["damaged"]
    with sqlite3.connect(data / "mailward.sqlite3") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    found = doctor(data, "database", "running")
    assert "has no tables" in found["damaged"]
    assert set(found) == {"damaged", "not-running"}
    (data / "mailward.sqlite3").unlink()
    assert "is not there" in doctor(data, "database")["damaged"]


def test_a_database_without_its_log_is_told(data: Path) -> None:
    with sqlite3.connect(data / "mailward.sqlite3") as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    assert list(doctor(data, "database")) == ["not-wal"]


@pytest.mark.parametrize(
    "statement, code",
    [
        ("INSERT INTO django_migrations (app, name, applied) VALUES ('store', '9999', '2030-01-01')", "schema-newer"),
        ("DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)", "schema-older"),
    ],
    ids=["newer", "older"],
)  # fmt: skip
def test_tables_of_another_version_are_told(data: Path, statement: str, code: str) -> None:
    with sqlite3.connect(data / "mailward.sqlite3") as connection:
        connection.execute(statement)
    connection.close()
    assert set(doctor(data, "running")) == {"not-running", code}


def test_a_check_that_there_is_not_is_refused_with_those_that_there_are(data: Path) -> None:
    done = run(data, "doctor", "--only", "weather")
    assert (done.returncode, "running, settings, host" in done.stderr) == (2, True)
    assert run(data, "doctor", MAILWARD_CONSOLE_PORT="many").returncode == 2


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform") / "data")
    try:
        with contextlib.suppress(AssertionError):  # on a busy machine it takes longer than others wait for
            platform.start()
        until(lambda: "Data  " in platform.log or platform.running.poll() is not None, 80)
        yield platform
    finally:
        platform.stop()


def test_a_fresh_installation_that_runs_has_no_problem(platform: Platform) -> None:
    # ports are in the environment of what runs alone: the doctor finds them there
    done = run(platform.data, "doctor")
    assert done.returncode == 0, done.stdout
    assert "PROBLEM" not in done.stdout
    assert "certificate of the development CA" in done.stdout
    assert "on this machine alone" in done.stdout


def test_status_tells_what_runs_in_less_than_a_second_of_processor_time(platform: Platform) -> None:
    before = os.times()
    done = run(platform.data, "status", "--json")
    after = os.times()
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["running"] is True
    assert [each["answers"] for each in told["services"]] == [True] * 4
    port = platform.ports["POLICY_HOST_PORT"]
    assert told["services"][0] == {"name": "policy host", "listen": [f"127.0.0.1:{port}"], "answers": True}
    assert told["figures"]["open_problems"] == 0
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 1.5, "most of it is loading Django; elsewhere it is 0.6"


def test_a_health_check_without_health_pages_asks_the_supervisor(platform: Platform, data: Path) -> None:
    done = run(platform.data, "health")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        [name, "ready"] for name in ("policy-host", "doors", "console", "worker")
    ]
    done = run(data, "health")
    assert (done.returncode, done.stderr) == (1, f"mailward: Mailward does not run on {data}\n")


def test_a_service_that_is_stopped_is_told_by_both(platform: Platform) -> None:
    child = platform.children()["policy-host"]
    os.kill(child, signal.SIGSTOP)
    try:
        found = doctor(platform.data, "inbound")
    finally:
        os.kill(child, signal.SIGCONT)
    assert "policy host" in found["nobody-listens"]


def test_status_tells_a_process_that_hangs_and_one_that_is_away_though_all_ports_take_connections(
    platform: Platform,
) -> None:
    def told() -> dict[str, tuple[bool, bool]]:
        done = run(platform.data, "status", "--json")
        seen = json.loads(done.stdout)
        assert all(each["answers"] for each in seen["services"])
        assert done.returncode == (0 if all(each == (True, False) for each in found(seen).values()) else 1)
        return found(seen)

    def found(seen: dict[str, Any]) -> dict[str, tuple[bool, bool]]:
        return {each["name"]: (each["serves"], each["silent_seconds"] >= 15) for each in seen["processes"]}

    well = dict.fromkeys(("policy-host", "doors", "console", "worker"), (True, False))
    worker = platform.children()["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        until(lambda: told() == well | {"worker": (True, True)}, 60)
        assert "worker HANGS" in run(platform.data, "status").stdout
        health = run(platform.data, "health")
        assert (health.returncode, "worker       NOT READY: no sign of life" in health.stdout) == (1, True)
        assert doctor(platform.data, "running")["service-hangs"].startswith("worker hangs")
    finally:
        os.kill(worker, signal.SIGKILL)
    until(lambda: platform.children().get("worker", worker) != worker)
    following = platform.children()["worker"]
    os.kill(following, signal.SIGSTOP)  # while it starts: it would be there before a slow machine has looked
    try:
        until(lambda: told() == well | {"worker": (False, False)})
    finally:
        os.kill(following, signal.SIGCONT)
    until(lambda: told() == well, 60)


def test_status_tells_a_supervisor_that_is_stopped(platform: Platform) -> None:
    os.kill(platform.running.pid, signal.SIGSTOP)
    try:
        done = run(platform.data, "status")
    finally:
        os.kill(platform.running.pid, signal.SIGCONT)
    assert (done.returncode, "THE SUPERVISOR DOES NOT ANSWER" in done.stdout) == (1, True)
