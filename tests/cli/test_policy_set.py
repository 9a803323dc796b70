"""`mailward policy set`, as the operator runs it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.mailserver import FakeMailServer
from tests.prepared import prepare

_DOMAIN = """
from mailward.store.models import Domain, Organisation
one = Organisation.objects.create(name="Engines", report_token="o")
Domain.objects.create(organisation=one, name="example.test", report_token="d", claim_token="c")
"""
_SHOW = """
from mailward.store.models import DomainEvent, PolicyVersion
print([(each.mode, each.reason) for each in PolicyVersion.objects.order_by("number")])
print(list(DomainEvent.objects.order_by("id").values_list("kind", flat=True)))
"""
POLICY = "version: STSv1\r\nmode: {}\r\nmx: mx.example.test\r\nmax_age: 604800\r\n"


@pytest.fixture(scope="module")
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set("example.test", "MX", "10 mx.example.test.")
    with server.threaded():
        yield server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, dns: FakeDns) -> Path:
    folder = prepare(tmp_path_factory.mktemp("policy-set"))
    _django(folder, dns, _DOMAIN)
    return folder


def _run(
    data: Path, dns: FakeDns, *arguments: str, watch: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"MAILWARD_DATA": str(data), "MAILWARD_DNS_RESOLVERS": dns.address}
    environment |= watch or {}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def _django(data: Path, dns: FakeDns, code: str) -> str:
    done = _run(data, dns, "-c", f"from mailward.cli.children import set_up_django; set_up_django()\n{code}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def _set(data: Path, dns: FakeDns, mode: str, *options: str) -> "subprocess.CompletedProcess[str]":
    file = data / "policy.txt"
    file.write_text(POLICY.format(mode), newline="")
    return _run(data, dns, "-m", "mailward", "policy", "set", "example.test", str(file), *options)


def test_a_policy_is_published_refused_and_forced(data: Path, dns: FakeDns) -> None:
    refused = _set(data, dns, "enforce")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.startswith("never-tested: From no policy to enforce")
    assert "--force example.test" in refused.stderr
    mistyped = _set(data, dns, "enforce", "--force", "example.com")
    assert (mistyped.returncode, "takes the name of the domain" in mistyped.stderr) == (2, True)
    forced = _set(data, dns, "enforce", "--force", "example.test", "--reason", "as it was elsewhere")
    assert (forced.returncode, forced.stderr) == (0, "")
    assert forced.stdout.startswith("example.test: version 1, id ")
    assert "nothing to change" in _set(data, dns, "enforce").stdout
    assert _django(data, dns, _SHOW).splitlines() == [
        "[('enforce', 'as it was elsewhere')]",
        "['policy-changed', 'policy-forced']",
    ]


def test_a_domain_that_is_not_ours_is_said(data: Path, dns: FakeDns) -> None:
    file = data / "policy.txt"
    file.write_text(POLICY.format("testing"), newline="")
    done = _run(data, dns, "-m", "mailward", "policy", "set", "other.test", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not have other.test" in done.stderr


REFUSED = (
    ("max_age: 604800", "max_age: 3600", "max-age-short: A max_age of 3600 seconds is under a day"),
    ("mx: mx.example.test", "mx: mx.other.test", "mx-not-covered: mx.example.test is an MX host and not in"),
    ("", "", "mx-certificate: Strict senders would refuse mx.example.test: Certificate for another name"),
)


def test_every_other_refusal_is_told_with_its_code(data: Path, dns: FakeDns, tmp_path: Path) -> None:
    assert _set(data, dns, "testing").returncode == 0
    dns.set("mx.example.test", "A", "127.0.0.1")
    authority = Authority(tmp_path)
    server = FakeMailServer(authority.issue("other.example.net"))
    file = tmp_path / "policy.txt"
    with server.running():
        watch = {
            "MAILWARD_WATCH_SMTP_PORT": str(server.port),
            "MAILWARD_WATCH_CA_FILE": str(authority.file),
            "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES": "true",
        }
        for old, new, told in REFUSED:
            file.write_text(POLICY.format("enforce").replace(old, new), newline="")
            command = ["-m", "mailward", "policy", "set", "example.test", str(file)]
            done = _run(data, dns, *command, watch=watch)
            assert (done.returncode, done.stdout) == (3, "")
            assert told in done.stderr
    assert "'testing'" in _django(data, dns, _SHOW).splitlines()[0].rpartition("(")[2]
