"""`mailward serve` for real: processes, ports, signals."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes.ports import free_port

from mailward.cli.greeting import describe
from mailward.config import Settings

PORTS = ("CONSOLE_PORT", "POLICY_HOST_PORT", "REPORTS_SMTP_PORT", "REPORTS_HTTPS_PORT")
POLICY = "version: STSv1\r\nmode: testing\r\nmx: mx.example.test\r\nmax_age: 86400\r\n"
# what the console's form does, without a browser
HOST_A_POLICY = """
import django; django.setup()
from mailward.store.models import *
from mailward.store.services.hosting import bump_generation
o = Organisation.objects.get()
if Domain.objects.exists():
    raise SystemExit
d = Domain.objects.create(organisation=o, name="example.test", report_token="t", claim_token="c")
d.current_version = PolicyVersion.objects.create(
    organisation=o, domain=d, number=1, policy_id="1", mode="testing", max_age_seconds=86400, text=%r)
d.save()
bump_generation()
"""


@dataclass
class Platform:
    """A data folder, ports of its own, and `mailward serve` on them."""

    data: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))
        }
        ports = {f"MAILWARD_{name}": str(port) for name, port in self.ports.items()}
        return kept | ports | {"MAILWARD_DATA": str(self.data)}

    @property
    def log(self) -> str:
        return self.data.with_suffix(".log").read_text()

    def start(self) -> None:
        with self.data.with_suffix(".log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mailward", "serve"],
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        until(lambda: "Data  " in self.log or self.running.poll() is not None, seconds=240)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.running.send_signal(number)
        return self.running.wait(timeout=60)

    def children(self) -> dict[str, int]:
        """Name of the child -> process id, as /proc has it now."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = re.search(r"PPid:\t(\d+)", (folder / "status").read_text())
            except OSError:  # ended since
                continue
            if parent and int(parent[1]) == self.running.pid and len(words) > 3:
                found[words[3].decode().removeprefix("_")] = int(folder.name)
        return found

    def host_a_policy(self) -> None:
        environment = self.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        subprocess.run(
            [sys.executable, "-c", HOST_A_POLICY % POLICY], env=environment, check=True, timeout=60
        )

    def fetch_policy(self) -> str:
        port, host = self.ports["POLICY_HOST_PORT"], "mta-sts.example.test"
        command = ["curl", "--silent", "--max-time", "5", "--cacert", str(self.data / "ca" / "ca.pem")]
        command += ["--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/.well-known/mta-sts.txt"]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).stdout.decode()

    def page(self, path: str) -> int:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.ports['CONSOLE_PORT']}{path}", timeout=10
        ) as answer:
            return int(answer.status)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("serve") / "data")
    try:
        platform.start()
        yield platform
    finally:
        if platform.running.poll() is None:
            platform.stop()


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    """Running, with the data of the tests before."""
    if shared_platform.running.poll() is not None:
        shared_platform.start()
    return shared_platform


@pytest.fixture
def hosting(platform: Platform) -> Platform:
    """Running, and it serves a policy."""
    platform.host_a_policy()
    until(lambda: platform.fetch_policy() == POLICY)
    return platform


@pytest.mark.xdist_group("serve")
class TestServe:
    def test_it_says_where_everything_is(self, platform: Platform) -> None:
        assert "Nothing answers" not in platform.log
        link = re.search(r"http://127\.0\.0\.1:\d+(/start/[\w-]+/)", platform.log)
        assert link is not None
        assert platform.page(link[1]) == 200

    def test_what_it_makes_is_for_us_alone(self, platform: Platform) -> None:
        assert stat.S_IMODE(platform.data.stat().st_mode) == 0o700
        assert stat.S_IMODE((platform.data / "ca" / "ca.key").stat().st_mode) == 0o600

    def test_each_part_is_a_process_of_its_own(self, platform: Platform) -> None:
        until(lambda: set(platform.children()) == {"console", "doors", "policy-host", "worker"})

    def test_a_policy_is_served_over_tls_as_soon_as_it_is_stored(self, platform: Platform) -> None:
        platform.host_a_policy()
        until(lambda: platform.fetch_policy() == POLICY, seconds=5)

    def test_the_death_of_the_console_stops_no_policy(self, hosting: Platform) -> None:
        before = hosting.children()
        os.kill(before["console"], signal.SIGKILL)
        assert hosting.fetch_policy() == POLICY
        until(lambda: hosting.children().get("console", before["console"]) != before["console"])
        until(lambda: answers(hosting.ports["CONSOLE_PORT"]))
        assert hosting.children()["policy-host"] == before["policy-host"]

    def test_a_killed_policy_host_is_back_within_seconds(self, hosting: Platform) -> None:
        os.kill(hosting.children()["policy-host"], signal.SIGKILL)
        until(lambda: hosting.fetch_policy() == POLICY, seconds=15)

    def test_a_second_one_on_the_same_folder_is_refused(self, platform: Platform) -> None:
        second = Platform(platform.data)
        done = run_to_the_end(second)
        assert done.returncode == 2
        assert re.search(rb"runs already on the data folder .* \(process \d+\)", done.stderr)

    def test_a_port_in_use_is_named_with_its_setting(self, platform: Platform, tmp_path: Path) -> None:
        other = Platform(tmp_path / "data")
        other.ports["POLICY_HOST_PORT"] = platform.ports["POLICY_HOST_PORT"]
        done = run_to_the_end(other)
        assert done.returncode == 2
        assert (
            f":{other.ports['POLICY_HOST_PORT']} (policy_host.port) cannot be used: another".encode()
            in done.stderr
        )

    def test_sigterm_ends_all_and_the_next_start_serves_again(self, hosting: Platform) -> None:
        children = hosting.children()
        assert hosting.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children.values())
        hosting.start()
        until(lambda: hosting.fetch_policy() == POLICY)

    def test_policies_are_served_without_the_database(self, hosting: Platform) -> None:
        assert hosting.stop(signal.SIGINT) == 0
        (hosting.data / "mailward.sqlite3").rename(hosting.data / "away")
        (hosting.data / "mailward.sqlite3").mkdir()  # whoever opens it fails
        host = subprocess.Popen(
            [sys.executable, "-m", "mailward", "_policy-host"],
            env=hosting.environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: hosting.fetch_policy() == POLICY)
        finally:
            host.terminate()
            assert host.wait(timeout=15) == 0
            (hosting.data / "mailward.sqlite3").rmdir()
            (hosting.data / "away").rename(hosting.data / "mailward.sqlite3")

    def test_no_empty_database_takes_the_place_of_one_that_is_gone(self, hosting: Platform) -> None:
        assert hosting.stop() == 0
        (hosting.data / "mailward.sqlite3").rename(hosting.data / "away")
        done = run_to_the_end(hosting)
        assert done.returncode == 2
        assert b"mailward.sqlite3 is gone, and policies were served from it" in done.stderr
        assert not (hosting.data / "mailward.sqlite3").exists()
        (hosting.data / "away").rename(hosting.data / "mailward.sqlite3")
        hosting.start()
        until(lambda: hosting.fetch_policy() == POLICY)

    def test_children_die_with_a_killed_supervisor(self, platform: Platform) -> None:
        until(lambda: len(platform.children()) == 4)
        children = platform.children()
        platform.stop(signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children.values()), seconds=5)


def run_to_the_end(platform: Platform) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "mailward", "serve"]
    return subprocess.run(command, env=platform.environment, capture_output=True, check=False, timeout=60)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_the_link_is_printed_only_while_nobody_has_an_account() -> None:
    assert "/start/TOKEN/" in describe(Settings(), "TOKEN")
    assert "/start/" not in describe(Settings(), None)


def test_a_broken_authority_is_said_before_anything_runs(tmp_path: Path) -> None:
    for name in ("ca.pem", "ca.key"):
        (tmp_path / "data" / "ca").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "ca" / name).write_text("")
    done = run_to_the_end(Platform(tmp_path / "data"))
    assert done.returncode == 2
    assert b"move ca.pem and ca.key away" in done.stderr


def test_a_database_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mailward.sqlite3").write_text("this is no database" * 100)
    done = run_to_the_end(Platform(tmp_path / "data"))
    assert done.returncode == 2
    assert b"mailward.sqlite3 cannot be used: file is not a database" in done.stderr


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_to_the_end(Platform(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert b"cannot be used: Not a directory" in done.stderr
