"""`mailward user`, as the operator runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.prepared import prepare

_PEOPLE = """
from mailward.store.models import Membership, Organisation, Role, User
ada = User.objects.create_user("ada@example.test", "forgotten by tomorrow", name="Ada \\x1b[31m")
User.objects.create_user("bob@example.test", "forgotten by tomorrow")
first, second = (Organisation.objects.create(name=name, report_token=name) for name in ("Engines", "Looms"))
Membership.objects.create(organisation=first, user=ada, role=Role.OWNER)
Membership.objects.create(organisation=second, user=ada, role=Role.READER)
"""
_OPEN_LINK = """
from django.test import Client
client = Client(headers={"host": "127.0.0.1"})
form = client.get(LINK, follow=True)
address = form.redirect_chain[-1][0]
client.post(address, {"password1": "a long enough secret", "password2": "a long enough secret"})
signed_in = client.post("/login/", {"login": "ada@example.test", "password": "a long enough secret"})
print(signed_in.status_code, b"no longer works" in Client(headers={"host": "127.0.0.1"}).get(LINK).content)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with Ada, an owner here and a reader there, and Bob, who belongs nowhere."""
    folder = prepare(tmp_path_factory.mktemp("user"))
    assert _django(folder, _PEOPLE) == ""
    return folder


def _run(data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "MAILWARD_DATA": str(data),
        "MAILWARD_CONSOLE_PUBLIC_URL": "https://mailward.example.net",
        "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _django(data: Path, code: str) -> str:
    done = _run(data, "-c", f"import django; django.setup()\n{code}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def user(data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return _run(data, "-m", "mailward", "user", *arguments)


def test_the_list_tells_everybody_with_their_roles(data: Path) -> None:
    assert user(data, "list").stdout.splitlines() == [
        "ada@example.test  never             Ada ?[31m; owner of Engines, reader of Looms",
        "bob@example.test  never             in no organisation",
    ]


def test_a_link_sets_a_new_password_once(data: Path) -> None:
    done = user(data, "link", "Ada@Example.test")
    assert done.returncode == 0
    found = re.fullmatch(r"https://mailward\.example\.net(/password/reset/\S+/)\n", done.stdout)
    assert found, "standard output is the link alone, so that it can be piped"
    assert "within 3 days" in done.stderr
    assert _django(data, _OPEN_LINK.replace("LINK", repr(found[1]))) == "302 True\n"


def test_the_first_person_comes_in_by_a_link_from_the_terminal(tmp_path: Path) -> None:
    prepare(tmp_path)
    done = user(tmp_path, "link")
    found = re.fullmatch(r"https://mailward\.example\.net(/start/\S+/)\n", done.stdout)
    assert found, done.stderr
    page = f"""
from django.test import Client
print(Client(headers={{"host": "127.0.0.1"}}).get({found[1]!r}).status_code)
"""
    assert _django(tmp_path, page) == "200\n"


def test_without_an_address_it_is_refused_once_somebody_is_there(data: Path) -> None:
    done = user(data, "link")
    assert (done.returncode, done.stdout) == (2, "")
    assert "say whose password" in done.stderr


def test_a_link_ends_with_its_lifetime(data: Path) -> None:
    (path,) = re.findall(r"(/password/reset/\S+/)", user(data, "link", "bob@example.test").stdout)
    code = f"""
from datetime import datetime, timedelta
from django.test import Client
from django.contrib.auth.tokens import PasswordResetTokenGenerator
PasswordResetTokenGenerator._now = lambda _self: datetime.now() + timedelta(days=3, seconds=5)
print(b"no longer works" in Client(headers={{"host": "127.0.0.1"}}).get({path!r}).content)
"""
    assert _django(data, code) == "True\n"


def test_an_address_without_an_account_is_said(data: Path) -> None:
    done = user(data, "link", "nobody@example.test")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mailward user list" in done.stderr


def test_where_nobody_has_an_account_the_first_link_is_pointed_to(tmp_path: Path) -> None:
    prepare(tmp_path)
    for arguments in (("list",), ("link", "ada@example.test")):
        done = user(tmp_path, *arguments)
        assert done.returncode == 2
        assert "mailward user link, without an address, prints" in done.stderr


def test_a_wrong_folder_is_said_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    done = user(tmp_path, "list", "--data", str(folder))
    assert done.returncode == 2
    assert "holds no Mailward database" in done.stderr
    assert not folder.exists()
