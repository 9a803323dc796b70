"""PostgreSQL over TLS, and behind PgBouncer: Debian's own programs, with what a start of Mailward does there."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.ports import free_port
from tests.postgresql import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
PGBOUNCER = "/usr/sbin/pgbouncer"
_BOUNCER = """
[databases]
mailward = host={server} port={server_port} dbname=mailward
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
ignore_startup_parameters = options
client_tls_sslmode = require
client_tls_key_file = {folder}/key.pem
client_tls_cert_file = {folder}/key.pem
"""
_START = """
import django; django.setup()
from django.db import connection
from mailward.cli.problem import Problem
from mailward.cli.tables import make_tables
try:
    make_tables()
except Problem as error:
    raise SystemExit(str(error))
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    print("locks", *cursor.fetchone())
    cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    print("tls", *cursor.fetchone())
"""
_WORK = """
import asyncio, time
import django; django.setup()
import psycopg
from django.db import connection
from mailward.hosting.notices import Notices
from mailward.store.aio import in_store
from mailward.store.models import Organisation
from mailward.store.postgresql import is_shared
from mailward.store.services.hosting import bump_generation

async def main():
    notices = Notices()
    event = notices.subscribe()
    listening = asyncio.create_task(notices.listen())
    while notices.poll_seconds < 1:
        await asyncio.sleep(0.05)
    event.clear()
    begun = time.monotonic()
    await in_store(bump_generation)
    async with asyncio.timeout(5):
        await event.wait()
    print("notice within", 1 if time.monotonic() - begun < 1 else 5)
    listening.cancel()

asyncio.run(main())
Organisation.objects.all().delete()
for n in range(5):
    Organisation.objects.create(name=f"{n}", report_token=f"o{n}")
found = []
with psycopg.connect(**connection.get_connection_params()) as other:
    for each in Organisation.objects.order_by("pk").iterator(chunk_size=1):
        # behind a pooler it takes, and keeps, the server's process that we had
        other.execute("SELECT 1")
        found.append(each.name)
print("read", *found)
print("shared", is_shared())
"""


class Site:
    def __init__(self, folder: Path, server: Server, port: int) -> None:
        self.folder, self.server, self.port = folder, server, port

    def run(self, code: str, **database: object) -> str:
        """What it prints; where it fails, what it says."""
        done = self._call("-c", code, **database)
        return " ".join((done.stdout if not done.returncode else done.stderr).split())

    def _call(self, *arguments: str, **database: object) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAILWARD", "PG"))}
        named = {"name": "mailward", "user": "mailward", "host": "localhost", "port": self.port} | database
        named = {"tls_ca": self.folder / "authority.pem"} | named
        ours = {f"MAILWARD_DATABASE_{key.upper()}": str(value) for key, value in named.items()}
        ours |= {
            "MAILWARD_DATA": str(self.folder / "data"),
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
        }
        return subprocess.run(
            [sys.executable, *arguments], env=kept | ours, capture_output=True, text=True, check=False
        )

    def start(self, **database: object) -> str:
        return self.run(_START, **database)

    def doctor(self, **database: object) -> list[dict[str, str]]:
        """What `mailward doctor` says of the database."""
        done = self._call("-m", "mailward", "doctor", "--only", "database", "--json", **database)
        assert not done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def bouncer(self, mode: str) -> Iterator[int]:
        """Its port."""
        port = free_port()
        file = self.folder / f"{mode}.ini"
        text = _BOUNCER.format(
            server=self.server.folder, server_port=self.port, port=port, folder=self.folder, mode=mode
        )
        file.write_text(text)
        user = "postgres" if os.geteuid() == 0 else None
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [PGBOUNCER, "-q", file], stdout=log, stderr=log, user=user, group=user, extra_groups=[]
            )
        try:
            while self.run(
                "import psycopg, os; psycopg.connect(host='127.0.0.1', sslmode='require', user='mailward',"
                f" dbname='mailward', port={port})"
            ):
                assert process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    assert Path(PGBOUNCER).exists(), "PgBouncer is missing: run scripts/test-needs"
    server, port = Server(), free_port()
    server.start()
    server.create("mailward")
    folder = server.folder / "tls"
    folder.mkdir()
    authority = Authority(folder)
    (folder / "key.pem").write_bytes(authority.issue_pem("localhost"))
    (folder / "key.pem").chmod(0o600)
    (folder / "users").write_text('"mailward" ""\n')
    shutil.copy(authority.file, folder / "authority.pem")
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, pwd.getpwnam("postgres").pw_uid, -1)
    for name, value in (
        ("listen_addresses", "127.0.0.1"),
        ("port", port),
        ("ssl", "on"),
        ("ssl_key_file", folder / "key.pem"),
        ("ssl_cert_file", folder / "key.pem"),
    ):
        server.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    server.stop()
    monkeypatch.setenv("PGPORT", str(port))
    server.start()
    yield Site(folder, server, port)
    server.remove()


def test_a_server_is_believed_by_its_certificate_alone(site: Site) -> None:
    assert site.start() == "locks 0 tls True"
    # trusted, and for another name
    assert 'does not match host name "127.0.0.1"' in site.start(host="127.0.0.1")
    other = site.folder / "other"
    other.mkdir()
    assert "certificate verify failed" in site.start(tls_ca=Authority(other, "Nobody").file)


def test_a_pooler_in_transaction_mode_is_refused_without_the_server_s_own_place(site: Site) -> None:
    with site.bouncer("transaction") as port:
        assert site.start(port=port) == (
            "The PostgreSQL database mailward at localhost is behind a pooler in transaction mode, through which "
            "neither NOTIFY nor the lock for changes of the tables works. Set its pool_mode to session, or name the "
            "server itself in database.direct_host."
        )
        assert (
            site.server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "mailward") == "0"
        )
        direct = {"port": port, "direct_host": "localhost", "direct_port": site.port}
        assert site.start(**direct).startswith("locks 0")
        assert site.run(_WORK, **direct) == "notice within 1 read 0 1 2 3 4 shared True"
        # the doctor tells it, and what it has to say where the server's own place is named is something else
        (found,) = [each for each in site.doctor(port=port) if each["code"] == "pooler"]
        assert found["grade"] == "problem"
        assert found["text"].startswith("a pooler in transaction mode stands before the server")
        assert "direct_host" in found["fix"]
        assert "pooler" not in [each["code"] for each in site.doctor(**direct)]


def test_a_pooler_in_session_mode_needs_nothing(site: Site) -> None:
    with site.bouncer("session") as port:
        assert site.start(port=port).startswith("locks 0")
        assert site.run(_WORK, port=port) == "notice within 1 read 0 1 2 3 4 shared False"
        assert "pooler" not in [each["code"] for each in site.doctor(port=port)]
