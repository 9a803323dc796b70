"""`mailward domains import` from end to end, in a process of its own."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns

MAKE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from mailward.store.models import Organisation
Organisation.objects.create(name="Example Ltd", report_token="o")
"""


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set("one.test", "MX", "10 mx.one.test.")
    with server.threaded():
        yield server


@pytest.fixture
def environment(tmp_path: Path, dns: FakeDns) -> dict[str, str]:
    environment = os.environ | {
        "MAILWARD_DATA": str(tmp_path / "data"),
        "MAILWARD_DNS_RESOLVERS": dns.address,
        "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
    }
    subprocess.run([sys.executable, "-c", MAKE], env=environment, check=True, timeout=100)
    return environment


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailward", "domains", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_a_list_is_looked_at_then_added(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("domain,automatic\none.test,21\nno name,\n")
    dry = run(environment, "import", str(file))
    assert dry.returncode == 1, dry.stderr
    assert dry.stdout.splitlines()[0] == (
        "new\tone.test\ttesting 86400 mx.one.test; Enforce automatically after 21 days of readiness\t"
    )
    assert "A dry run: nothing was added." in dry.stderr
    added = run(environment, "import", str(file), "--add")
    assert (added.returncode, added.stderr.splitlines()[-1]) == (1, "1 new, 1 unreadable. 1 added.")
    again = run(environment, "import", str(file))
    assert again.stdout.startswith("there\tone.test\t")
    assert "mta-sts.one.test. 3600 IN CNAME" in run(environment, "records").stdout


def test_domains_are_added_by_name(environment: dict[str, str]) -> None:
    added = run(environment, "add", "one.test", "ONE.test")
    assert (added.returncode, added.stdout) == (0, "new\tone.test\ttesting 86400 mx.one.test\t\n"), (
        added.stderr
    )
    assert "mta-sts.one.test. 3600 IN CNAME" in run(environment, "records", "one.test").stdout
    refused = run(environment, "add", "not a name")
    assert refused.returncode == 2
    assert "not a name" in refused.stderr


def test_what_cannot_be_done_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    for arguments, words in (
        (("import", str(tmp_path / "none.csv")), "No such file"),
        (("import", "http://127.0.0.1:1"), "MAILWARD_POWERDNS_KEY"),
        (("import", "-", "--profile", "none"), "is no profile"),
    ):
        answer = run(environment, *arguments)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert words in answer.stderr


def test_before_the_service_is_restarted_after_an_upgrade_a_command_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "data/mailward.sqlite3")) as database, database:
        last = "(SELECT max(name) FROM django_migrations WHERE app = 'store')"
        database.execute(f"DELETE FROM django_migrations WHERE app = 'store' AND name = {last}")
    answer = run(environment, "add", "one.test")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.endswith("lacks tables of this version. Start mailward serve, or restart it.\n")
