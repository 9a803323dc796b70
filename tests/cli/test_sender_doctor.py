"""`mailward sender doctor` against a daemon that runs and a real postconf."""

import json
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.cli.test_sender import command
from tests.sender.lab import Lab, running_lab
from tests.sender.process import Process, make_process

from mailward.config import Tlsrpt
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.doctor import look

ROOT = Path(__file__).parents[2]
POSTFIX = ROOT / ".cache" / "postfix"  # scripts/test-needs unpacks it
VERSION = subprocess.run(
    [POSTFIX / "postconf", "-dh", "mail_version"], check=True, capture_output=True, text=True
).stdout
MAP = "QUERYwithTLSRPT" if tuple(map(int, VERSION.split(".")[:2])) >= (3, 10) else "QUERY"
MAIN = """
compatibility_level = 3.6
queue_directory = {queue}
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt
smtp_tls_policy_maps = {tables}
"""


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path) as lab:
        yield lab


def postfix(lab: Lab, queue: Path, tables: str) -> tuple[str, ...]:
    """The options that lead to an instance with these tables."""
    folder = lab.folder / "postfix"
    folder.mkdir(exist_ok=True)
    (folder / "main.cf").write_text(MAIN.format(queue=queue, tables=tables))
    (folder / "master.cf").write_text((POSTFIX / "usr/share/postfix/master.cf.dist").read_text())
    return ("--postfix", str(folder), "--postconf", str(POSTFIX / "postconf"))


@pytest.fixture
def queue() -> Iterator[Path]:
    """Where others may enter, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mailward-queue-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def close(folder: Path) -> None:
    folder.chmod(0o700)


async def start(lab: Lab, queue: Path) -> tuple[Process, str]:
    """A daemon whose socket is in the queue directory, and its `listen`."""
    listen = f'["unix:{queue / "sender.sock"}"]'
    return await make_process(lab, listen=listen).start(), listen


async def test_a_set_up_that_works_has_no_problem(lab: Lab, queue: Path) -> None:
    daemon, listen = await start(lab, queue)
    options = postfix(lab, queue, f"socketmap:unix:sender.sock:{MAP}")
    status, output = await command(lab, "doctor", *options, listen=listen)
    assert (status, "PROBLEM" in output) == (0, False), output
    assert f"smtp_tls_policy_maps asks socketmap:unix:sender.sock:{MAP}" in output
    assert "sender.sock answers in " in output
    assert "smtp_tls_security_level is may, as default_level says" in output
    close(queue)
    status, output = await command(lab, "doctor", *options, listen=listen)
    await daemon.stop(signal.SIGTERM)
    assert (status, f"{queue} may not be entered by others" in output) == (1, True)


async def test_what_to_change_is_said_exactly(lab: Lab, queue: Path) -> None:
    daemon, listen = await start(lab, queue)
    options = postfix(lab, queue, "hash:/etc/postfix/tls_policy, socketmap:unix:else.sock:QUERY")
    status, output = await command(
        lab, "doctor", *options, "--json", listen=listen, default_level='"encrypt"'
    )
    await daemon.stop(signal.SIGTERM)
    found = {line["code"]: line for line in map(json.loads, output.splitlines())}
    assert status == 1
    fix = f"postconf -c {options[1]} -e 'smtp_tls_policy_maps = hash:/etc/postfix/tls_policy, {{}}'"
    assert found["not-asked"]["fix"] == fix.format(f"socketmap:unix:sender.sock:{MAP}")
    assert found["level-differs"]["fix"] == '[sender] default_level = "may"'


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere.pem", "No such file"), ("main.cf", "it holds no certificates")]
)
async def test_authorities_that_postfix_cannot_use_are_a_problem(
    lab: Lab, queue: Path, name: str, why: str
) -> None:
    options = postfix(lab, queue, f"socketmap:inet:127.0.0.1:1:{MAP}")
    main = lab.folder / "postfix" / "main.cf"
    file = main.with_name(name)
    main.write_text(main.read_text().replace("/etc/ssl/certs/ca-certificates.crt", str(file)))
    status, output = await command(lab, "doctor", *options)
    assert status == 1
    assert f"PROBLEM smtp_tls_CAfile {file}: {why}" in output
    assert f"certificates are checked with {file}" not in output


async def test_a_daemon_that_does_not_run_and_a_postfix_that_is_not_there(lab: Lab) -> None:
    options = ("--postfix", str(lab.folder), "--postconf", "/nowhere/postconf")
    status, output = await command(lab, "doctor", *options)
    assert status == 1
    assert ": Postfix defers all mail (4.7.5) while nobody answers\n" in output
    assert "-> start mailward sender run" in output
    assert "PROBLEM /nowhere/postconf: No such file or directory" in output


async def test_a_resolver_that_does_not_validate_is_a_problem(lab: Lab) -> None:
    options = ("--postfix", str(lab.folder), "--postconf", "/nowhere/postconf")
    _, output = await command(lab, "doctor", *options, dane="true")
    assert "PROBLEM DANE is off: the resolver does not validate" in output


async def test_a_log_that_is_to_be_followed_is_looked_at(lab: Lab, queue: Path) -> None:
    _, folder, _, postconf = postfix(lab, queue, "socketmap:unix:sender.sock:QUERY")
    settings = msgspec.structs.replace(lab.settings(), tlsrpt=Tlsrpt(log="/nowhere/mail.log"))
    sections = [each async for each in look(settings, make_sender_resolver(settings), [folder], postconf)]
    found = {finding.code: finding for section in sections for finding in section.findings}
    assert found["log-unreadable"].text.startswith("this user cannot read /nowhere/mail.log")
    assert found["certificates-not-looked-at"].fix.endswith("-e 'smtp_tls_loglevel = summary,untrusted'")
