"""`mailward certificates` and `mailward key`, as the operator runs them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.postgresql import Server
from tests.prepared import prepare

_ROWS = """
from datetime import timedelta
from mailward.net import clock
from mailward.store.models import *
o = Organisation.objects.create(name="O", report_token="o")
now = clock.now()
a = AcmeAccount.objects.create(directory="https://one.test/dir", key=b"", url="x", last_error="too many \\x1b[31m",
                               blocked_until=now + timedelta(minutes=5))
states = [("queued", ""), ("queued", ""), ("failing", "no such \\u202ename"), ("good", "")]
for at, (state, detail) in enumerate(states):
    d = Domain.objects.create(organisation=o, name=f"d{at}.test", report_token=f"r{at}", claim_token="c")
    CertificateCare.objects.create(domain=d, organisation=o, due_at=now, state=state, detail=detail)
own = Certificate.objects.create(host="reports.test", directory="https://one.test/dir", chain="", key=b"", issuer="CA",
                                 sequence=1, not_before=now, not_after=now.replace(year=2031, month=5, day=4))
OwnNameCare.objects.create(host="reports.test", due_at=now, state="good", current=own)
OwnNameCare.objects.create(host="policies.test", due_at=now, state="reach", detail="policies.test has no \x1baddress")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("certificates"))
    made = run(folder, "-c", f"import django; django.setup()\n{_ROWS}")
    assert made.returncode == 0, made.stderr
    return folder


def run(data: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    whole = os.environ | {"MAILWARD_DATA": str(data), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=whole | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_status_tells_of_the_refused_while_others_wait_for_a_place(data: Path) -> None:
    done = run(data, "-m", "mailward", "status", MAILWARD_ACME_DIRECTORIES="https://one.test/dir")
    assert done.returncode == 1, done.stderr  # nothing runs
    assert "; 1 FAILING" in done.stdout


def test_queue_cas_and_what_does_not_go_well(data: Path) -> None:
    done = run(data, "-m", "mailward", "certificates", MAILWARD_ACME_DIRECTORIES="https://one.test/dir")
    assert done.returncode == 0, done.stderr
    assert "https://one.test/dir: 1 certificates in use, 0 of 300 orders in the last 3 hours" in done.stdout
    assert "too many [U+001B][31m" in done.stdout
    assert "2 domains wait for a place at a CA" in done.stdout
    assert "The last of those that wait is ordered about " in done.stdout
    assert (
        "policies.test (our own) does not lead to us yet: policies.test has no [U+001B]address" in done.stdout
    )
    assert "reports.test (our own) has a certificate, until 2031-05-04 " in done.stdout
    assert "d2.test: are refused, and tried again: no such [U+202E]name" in done.stdout


def test_without_a_ca_it_says_so(data: Path) -> None:
    done = run(data, "-m", "mailward", "certificates")
    assert done.returncode == 2
    assert "acme.directories" in done.stderr


def test_a_new_key_is_printed_and_rotation_keeps_the_one_before(data: Path) -> None:
    printed = run(data, "-m", "mailward", "key", "new").stdout.strip()
    assert len(printed) == 44
    before = (data / "key").read_text().split()
    empty = run(data, "-c", "import django; django.setup()\nfrom mailward.store.models import *\n"
                "AcmeAccount.objects.all().delete(); Certificate.objects.all().delete()")  # fmt: skip
    assert empty.returncode == 0
    done = run(data, "-m", "mailward", "key", "rotate")
    assert done.stdout == "0 private keys sealed anew.\n", done.stderr
    after = (data / "key").read_text().split()
    assert after[1:] == before
    assert after[0] not in before
    assert stat.S_IMODE((data / "key").stat().st_mode) == 0o600


def test_a_rotation_that_was_cut_short_can_be_run_again(data: Path) -> None:
    made = run(data, "-c", f"import django; django.setup()\n{_SEALED}")
    assert made.returncode == 0, made.stderr
    # killed after the new key was written, before anything was sealed anew: twice
    cut = "import mailward.store.services.resealing as r\ndef die(_): raise SystemExit(9)\nr.reseal = die\n"
    command = "from mailward.cli.key import rotate\nrotate()"
    for _ in range(2):
        assert run(data, "-c", f"import django; django.setup()\n{cut}{command}").returncode == 9
    done = run(data, "-m", "mailward", "key", "rotate")
    assert done.stdout == "1 private key sealed anew.\n", done.stderr
    assert len((data / "key").read_text().split()) == 2
    removed = run(data, "-c", f"import django; django.setup()\n{_REMOVED}")
    assert removed.returncode == 0, removed.stderr


_REMOVED = "from mailward.store.models import AcmeAccount; AcmeAccount.objects.all().delete()"
_SEALED = """
from pathlib import Path
from mailward.config import load_settings
from mailward.net.sealing import load_keyring
from mailward.store.models import AcmeAccount
ring = load_keyring(load_settings())
AcmeAccount.objects.create(directory="d", key=ring.seal(b"k", "account d"))
"""


def test_a_node_with_another_key_does_not_start_and_says_what_to_do(data: Path) -> None:
    made = run(data, "-c", f"import django; django.setup()\n{_SEALED}")
    assert made.returncode == 0, made.stderr
    assert run(data, "-m", "mailward", "_prepare").returncode == 0
    other = run(data, "-m", "mailward", "key", "new").stdout.strip()
    refused = run(data, "-m", "mailward", "_prepare", MAILWARD_KEY=other)
    assert refused.returncode != 0
    assert "sealed by a key that is not here" in refused.stderr
    assert other not in refused.stderr
    assert run(data, "-m", "mailward", "key", "forget").stdout == "0 private keys forgotten.\n"
    assert (
        run(data, "-m", "mailward", "key", "forget", MAILWARD_KEY=other).stdout
        == "1 private key forgotten.\n"
    )
    assert run(data, "-m", "mailward", "_prepare", MAILWARD_KEY=other).returncode == 0


def test_of_several_nodes_none_seals_by_a_key_that_the_others_lack(tmp_path: Path) -> None:
    server = Server()
    server.start()
    server.create("nodes")
    settings = server.environment("nodes") | {"MAILWARD_POLICY_HOST_NODES": "192.0.2.1 192.0.2.2"}
    try:
        for words in (("-m", "mailward", "_prepare"), ("-c", f"import django; django.setup()\n{_SEALED}")):
            done = run(tmp_path, *words, **settings)
            assert done.returncode == 0, done.stderr
        before = (tmp_path / "key").read_text()
        refused = run(tmp_path, "-m", "mailward", "key", "rotate", **settings)
        assert refused.returncode != 0
        assert "in that file of every node" in " ".join(refused.stderr.split())
        assert (tmp_path / "key").read_text() == before
        made = run(tmp_path, "-m", "mailward", "key", "new").stdout
        (tmp_path / "key").write_text(made + before)
        done = run(tmp_path, "-m", "mailward", "key", "rotate", **settings)
        assert done.stdout == "1 private key sealed anew.\n", done.stderr
        assert (tmp_path / "key").read_text().split() == [made.strip(), before.strip()]
    finally:
        server.remove()
