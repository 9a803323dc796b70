"""Releases of Mailward on one data folder, one after another, and who holds their sockets meanwhile."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.ports import free_port
from tests.prepared import prepare

ROOT = Path(__file__).parents[2]
PREVIOUS = (ROOT / "packaging" / "previous-release").read_text().split()
"""Its version and its commit."""
ZONE = "sts.example.net"
DOMAIN = "example.test"
TOKEN = "dom-example"
LABEL = "label"
ADDRESS = f"{TOKEN}@reports.localhost"
PORTS = ("CONSOLE_PORT", "POLICY_HOST_PORT", "REPORTS_SMTP_PORT", "REPORTS_HTTPS_PORT", "NAMESERVER_PORT")
SERVICES = {
    "POLICY_HOST_PORT": "policy-host",
    "REPORTS_SMTP_PORT": "smtp",
    "REPORTS_HTTPS_PORT": "reports-https",
    "CONSOLE_PORT": "console",
    "NAMESERVER_PORT": "nameserver",
}
# what the console's form does, without a browser; the worker tells the id once every policy host serves it
PUBLISH = f"""
import sys, django; django.setup()
from django.db import transaction
from mailward.store.models import *
from mailward.store.services import outbox
from mailward.store.services.hosting import bump_generation
with transaction.atomic():
    o = Organisation.objects.get()
    d, _ = Domain.objects.get_or_create(organisation=o, name={DOMAIN!r}, defaults=dict(
        report_token={TOKEN!r}, claim_token="c", delegation_token={LABEL!r}))
    d.current_version = PolicyVersion.objects.create(
        organisation=o, domain=d, number=int(sys.argv[1]), policy_id=f"id{{sys.argv[1]}}", mode="testing",
        max_age_seconds=86400, text=sys.argv[2])
    d.save()
    outbox.put("announce", str(d.pk))
    bump_generation(d.pk)
"""
# as systemd hands sockets over: sd_listen_fds(3)
HAND_OVER = """
import fcntl, os, sys
names, command = sys.argv[2], sys.argv[3:]
numbers = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 64) for number in sys.argv[1].split(",")]
for place, number in enumerate(numbers):
    os.dup2(number, 3 + place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(numbers)), "LISTEN_FDNAMES": names}
os.execvp(command[0], command)
"""
NEXT_MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", {leaf!r})]
    operations = [migrations.AddField("domain", "of_the_next_release", models.IntegerField(null=True))]
"""


def policy(number: int) -> str:
    """The text of version `number`, each another."""
    return f"version: STSv1\r\nmode: testing\r\nmx: mx{number}.example.test\r\nmax_age: 86400\r\n"


@dataclass(frozen=True)
class Release:
    name: str
    source: Path


def this_release() -> Release:
    return Release("this", ROOT / "src")


def previous_release(folder: Path) -> Release:
    """From the history of this repository; a clone that lacks it fails here, and says so."""
    version, commit = PREVIOUS
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "src"], check=False, capture_output=True, timeout=60
    )
    assert packed.returncode == 0, f"{version} is not in this clone, which must be whole: {packed.stderr!r}"
    target = folder / version
    target.mkdir()
    subprocess.run(["tar", "-x", "-C", str(target)], input=packed.stdout, check=True, timeout=60)
    return Release(version, target / "src")


def next_release(folder: Path) -> Release:
    """What this one is, with one change more of the tables."""
    target = folder / "next" / "src"
    shutil.copytree(ROOT / "src", target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    migrations = target / "mailward" / "store" / "migrations"
    leaf = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9000_next.py").write_text(NEXT_MIGRATION.format(leaf=leaf))
    return Release("next", target)


@dataclass
class Installation:
    folder: Path
    shared: dict[str, str] = field(default_factory=dict)
    """Settings that it has in common with other nodes, such as the database."""
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    held: list[tuple[str, socket.socket]] = field(default_factory=list)
    """Name and socket, as systemd holds them; empty: the program opens its own."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def environment(self, release: Release) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))
        }
        ports = {f"MAILWARD_{name}": str(port) for name, port in self.ports.items()}
        own = {
            "PYTHONPATH": str(release.source),
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
            "MAILWARD_DATA": str(self.data),
            "MAILWARD_NAMESERVER_ZONE": ZONE,
            "MAILWARD_DNS_RESOLVERS": "127.0.0.1:9",
            "MAILWARD_WATCH_ENABLED": "false",
            "MAILWARD_NAMESERVER_REPLIES_PER_SECOND": "0",
        }
        return kept | ports | own | self.shared

    def run(self, release: Release, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            env=self.environment(release),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    def prepare(self, release: Release) -> None:
        if release == this_release() and "MAILWARD_DATABASE_NAME" not in self.shared:
            prepare(self.data)
            return
        done = self.run(release, "-m", "mailward", "_prepare")
        assert done.returncode == 0, done.stderr

    def publish(self, release: Release, number: int) -> None:
        done = self.run(release, "-c", PUBLISH, str(number), policy(number))
        assert done.returncode == 0, done.stderr

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Play systemd's part: the sockets are there, whatever serves them."""
        try:
            for port, name in SERVICES.items():
                self.held.append((name, _listen(self.ports[port], socket.SOCK_STREAM)))
            self.held.append(("nameserver", _listen(self.ports["NAMESERVER_PORT"], socket.SOCK_DGRAM)))
            yield
        finally:
            for _, each in self.held:
                each.close()
            self.held.clear()

    async def start(self, release: Release) -> None:
        command = [sys.executable, "-m", "mailward", "serve"]
        numbers = [each.fileno() for _, each in self.held]
        if self.held:
            names = ":".join(name for name, _ in self.held)
            command = [sys.executable, "-S", "-c", HAND_OVER, ",".join(map(str, numbers)), names, *command]
        seen = len(self.log) if (self.folder / "log").exists() else 0
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it only starts
                command, env=self.environment(release), stdout=output, stderr=output, pass_fds=numbers
            )
        async with asyncio.timeout(400):
            while "Data  " not in self.log[seen:]:
                assert self.process.poll() is None, self.log[seen:]
                await asyncio.sleep(0.05)
            # 0.1.0 prints that after ten seconds, whether all of it serves or not
            while not all(map(_answers, self.ports.values())):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while self.process.poll() is None:  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0.02)
        assert self.process.returncode == 0, self.log[-3000:]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stored(self) -> set[str]:
        with contextlib.closing(sqlite3.connect(self.data / "mailward.sqlite3")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return {row[0] for row in database.execute("SELECT report_id FROM store_report")}


def _listen(port: int, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    if kind == socket.SOCK_STREAM:
        made.listen(512)
    return made


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
