"""`mailward check` against DNS, a policy host and a mail server on loopback. The zoo has the faults."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.policyhost import PolicyHost, http
from tests.fakes.relay import FakeRelay
from tests.zoo.certs import Zoo
from typer.testing import CliRunner, Result

from mailward.cli.check import app

DOMAIN, MX = "example.test", "mx.example.test"
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.test\r\nmax_age: 2419200\r\n"


REPORT = {
    "organization-name": "Mail Inc",
    "date-range": {"start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z"},
    "contact-info": "tls@mail.example",
    "report-id": "1",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": DOMAIN},
            "summary": {"total-successful-session-count": 500, "total-failure-session-count": 12},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "receiving-mx-hostname": MX,
                    "failed-session-count": 12,
                }
            ],
        }
    ],
}


TESTED = ("example.test", "--report-test", "--contact", "tls@tester.test")


class Lab:
    """A domain in good order; DNS answers as a resolver that validates and finds nothing signed but the root."""

    def __init__(self, folder: Path) -> None:
        self.zoo = Zoo(folder)
        self._folder = folder
        self.dns = FakeDns(authenticated=True)
        self.dns.insecure.add("test.")
        self.dns.set(".", "SOA", "a.test. b.test. 1 60 60 60 60")
        self.dns.set(DOMAIN, "MX", f"10 {MX}.")
        self.dns.set(MX, "A", "127.0.0.1")
        self.dns.set(f"_mta-sts.{DOMAIN}", "TXT", "v=STSv1; id=1;")
        self.dns.set(f"mta-sts.{DOMAIN}", "A", "127.0.0.1")
        self.dns.set(f"_smtp._tls.{DOMAIN}", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{DOMAIN}")
        self.web = PolicyHost(self.context("good", f"mta-sts.{DOMAIN}"), http(POLICY))
        self.mail = FakeMailServer(self.context("good", MX))

    def context(self, kind: str, name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        file = self._folder / "chain.pem"
        file.write_bytes(self.zoo.issue(kind, name).pem)
        made.load_cert_chain(file)
        return made

    @contextmanager
    def running(self) -> Iterator[None]:
        started, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

        async def live() -> None:
            async with self.dns, self.web.running():
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
        thread.start()
        assert started.wait(10)
        try:
            with self.mail.running():
                yield
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.close()

    @property
    def arguments(self) -> list[str]:
        ports = ["--smtp-port", str(self.mail.port), "--https-port", str(self.web.port)]
        return [DOMAIN, "--resolver", self.dns.address, "--ca-file", str(self.zoo.root_file), *ports]

    def check(self, *arguments: str) -> Result:
        with self.running():
            return CliRunner().invoke(app, [*self.arguments, "--allow-private", *arguments])

    def document(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.check("--json", *arguments).output))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_domain_in_good_order_exits_0(lab: Lab) -> None:
    result = lab.check()
    assert result.exit_code == 0, result.output
    assert "* Senders that enforce MTA-STS deliver to you." in result.output
    assert "Nothing is wrong with what was seen." in result.output
    assert f"{MX} at 127.0.0.1: TLSv1.3" in result.output
    assert lab.mail.commands[-1] == "QUIT"


def test_what_strict_senders_refuse_exits_2(lab: Lab) -> None:
    lab.mail.context = lab.context("expired", MX)
    result = lab.check()
    assert result.exit_code == 2
    assert "* Senders that enforce MTA-STS do not deliver to you" in result.output
    assert f"CRITICAL  Certificate expired: {MX}" in result.output
    assert "senders report certificate-expired" in " ".join(result.output.split())


def test_what_is_lost_or_will_be_exits_1(lab: Lab) -> None:
    lab.mail.context = lab.context("ends-soon", MX)
    result = lab.check()
    assert result.exit_code == 1
    assert "The MX certificate expires in" in result.output


def test_where_nothing_was_observed_it_exits_3_and_accuses_nobody(lab: Lab) -> None:
    lab.mail.greeting = b"450 4.7.1 greylisted, come later\r\n"
    result = lab.check()
    assert result.exit_code == 3
    assert f"{MX} at 127.0.0.1: it says 450 4.7.1 greylisted, come later" in result.output
    assert "Grade" not in result.output


def test_an_address_has_so_many_connections_an_hour_over_all_runs(lab: Lab) -> None:
    """Three to the policy host and one to the MX host, which are one address here."""
    assert lab.check("--probes-per-hour", "4").exit_code == 0
    before = len(lab.mail.commands)
    result = lab.check("--probes-per-hour", "4")
    assert result.exit_code == 3
    assert f"{MX} at 127.0.0.1: not asked: it has had its 4 connections for this hour" in result.output
    assert "The policy host could not be observed." in " ".join(result.output.split())
    assert len(lab.mail.commands) == before
    assert lab.check().exit_code == 0, "600 are the most"


def test_one_line_for_monitoring(lab: Lab) -> None:
    lab.mail.context = lab.context("self-signed", MX)
    result = lab.check("--nagios")
    [line] = result.output.splitlines()
    assert line.startswith(
        f"CRITICAL {DOMAIN}: certificate-self-signed ({MX}). Senders that enforce MTA-STS do not"
    )


def test_the_document_has_what_it_promises(lab: Lab) -> None:
    document = lab.document()
    assert (document["format"], document["domain"], document["worst"]) == (1, DOMAIN, None)
    assert [verdict["outcome"] for verdict in document["verdicts"]] == [
        "delivers", "delivers", "unprotected", "delivers",
    ]  # fmt: skip
    [session] = document["facts"]["hosts"][0]["sessions"]
    assert session["tls"]["chain"][0]["names"] == [MX]
    assert document["facts"]["policy"] == {"mode": "enforce", "max_age": 2419200, "mx": [MX]}


def test_every_field_of_the_document_is_documented(lab: Lab) -> None:
    lab.mail.context = lab.context("expired", MX)
    page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    keys = _keys(lab.document("--deep"))
    assert {"evidence", "openssl", "accepts_injected", "takes_reports"} <= keys
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def _keys(value: object) -> set[str]:
    """Of objects at every depth."""
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in _keys(each)}
    return {key for each in value for key in _keys(each)} if isinstance(value, list) else set()


def test_without_smtp_no_mail_server_is_spoken_to(lab: Lab) -> None:
    document = lab.document("--no-smtp")
    assert lab.mail.commands == []
    assert document["not_observed"] == [{"about": MX, "reason": "SMTP was not asked for"}]
    assert (document["findings"], document["verdicts"][0]["outcome"]) == ([], "unknown")


def test_several_domains_are_one_line_each_in_their_order(lab: Lab) -> None:
    result = lab.check("--json", "other.test", DOMAIN)
    assert [json.loads(line)["domain"] for line in result.output.splitlines()] == [DOMAIN, "other.test"]


def test_a_mail_server_that_two_domains_share_is_spoken_to_once(lab: Lab) -> None:
    lab.dns.set("other.test", "MX", f"10 {MX}.")
    lab.check("other.test")
    assert lab.mail.commands.count("QUIT") == 1


def test_no_private_address_is_connected_to_unless_asked(lab: Lab) -> None:
    with lab.running():
        result = CliRunner().invoke(app, [*lab.arguments, "--json"])
    document = json.loads(result.output)
    assert lab.mail.commands == []
    assert lab.web.requests == []
    assert {finding["code"] for finding in document["findings"]} == {
        "mx-host-private", "policy-host-unreachable",
    }  # fmt: skip


def test_nothing_that_strangers_write_reaches_the_terminal_raw(lab: Lab) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m\u202e"
    lab.mail.greeting = f"220 {evil}\r\n".encode()
    lab.mail.replies["EHLO"] = f"250-{evil}\r\n250-{evil}\r\n250 SIZE\r\n".encode()
    lab.web.response = http(f"version: {evil}\n".encode())
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT", f"v=STSv1; id={evil};")
    for arguments in ((), ("--json",), ("--nagios",)):
        output = lab.check(*arguments).output
        assert "\x1b" not in output
        assert "\u202e" not in output


def test_a_policy_is_tried_before_it_is_published(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "next.txt"
    file.write_bytes(POLICY.replace(b"mx: mx.", b"mx: mail."))
    result = lab.check("--from-policy", str(file))
    assert result.exit_code == 2
    assert "If this policy is served:" in result.output
    assert f"CRITICAL  MX host not in the policy: {MX}" in result.output


def test_supposed_mx_hosts_are_really_spoken_to(lab: Lab) -> None:
    lab.dns.set("mx9.example.test", "A", "127.0.0.1")
    document = lab.document("--from-mx", "mx9.example.test")
    assert document["supposed"] == ["MX mx9.example.test"]
    assert [host["name"] for host in document["facts"]["hosts"]] == ["mx9.example.test"]
    assert "QUIT" in lab.mail.commands


def test_a_check_is_compared_with_earlier_ones_and_added_to_them(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    first = lab.check("--history", str(file))
    assert "earlier check" not in first.output
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT", "v=STSv1; id=2;")
    yesterday = json.loads(file.read_text()) | {"at": "2026-11-01T00:00:00+00:00"}
    file.write_text(json.dumps(yesterday) + '\n{"cut off')
    second = lab.check("--history", str(file), "other.test")
    assert "Compared with 1 earlier check, since 2026-11-01 00:00 UTC." in second.output
    assert f"notice  The id changed, the policy did not: _mta-sts.{DOMAIN}" in second.output
    assert "lines that are no documents of checks: 1" in second.output
    lines = file.read_text().splitlines()
    assert [json.loads(lines[at])["domain"] for at in (0, 2, 3)] == [DOMAIN, DOMAIN, "other.test"]
    assert json.loads(lines[2])["history"]["checks"] == 1


def test_a_dry_run_is_compared_and_not_added(lab: Lab, tmp_path: Path) -> None:
    file, policy = tmp_path / "history.jsonl", tmp_path / "next.txt"
    lab.check("--history", str(file))
    policy.write_bytes(POLICY)
    lab.check("--history", str(file), "--from-policy", str(policy))
    assert len(file.read_text().splitlines()) == 1


def test_reported_sessions_are_held_against_a_policy_that_is_supposed(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "next.txt").write_bytes(POLICY)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "one.json").write_text(json.dumps(REPORT))
    (tmp_path / "reports" / "none.json").write_text("{}")
    arguments = ("--from-policy", str(tmp_path / "next.txt"), "--reports", str(tmp_path / "reports"))
    result = lab.check(*arguments)
    assert result.exit_code == 1
    assert "none.json: " in result.output
    assert "Of the sessions in 1 report (2026-11-20), 12 would be refused:" in result.output
    assert "12  Mail Inc, mx.example.test: Certificate expired [certificate-expired]" in result.output
    assert "Successful under the policy of then: 500" in result.output
    (tmp_path / "reports" / "none.json").unlink()
    assert lab.document(*arguments)["rehearsal"]["refused"][0]["sessions"] == 12
    result = lab.check(*arguments[:3], "/nowhere")
    assert (result.exit_code, "--reports: /nowhere: no such file or folder" in result.output) == (3, True)


def test_a_test_report_is_sent_only_when_asked_for(lab: Lab, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    with FakeRelay() as relay:
        through = ["--relay", f"127.0.0.1:{relay.port}", "--dkim-selector", "one"]
        through += ["--dkim-key", str(tmp_path / "key.pem"), "--contact", "tls@tester.test"]
        unasked = lab.check(*through)
        assert (unasked.exit_code, relay.mails) == (3, [])
        assert "--contact goes with --report-test" in unasked.output
        result = lab.check("--report-test", *through)
        assert [mail.recipients for mail in relay.mails] == [(f"tls@{DOMAIN}",)]
    assert f"test report to mailto:tls@{DOMAIN}: taken; the relay: taken" in result.output
    assert result.exit_code == 0


def test_dead_dns_is_told_and_ends(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL)
    result = lab.check("--brief")
    assert result.exit_code == 2
    assert "MX records cannot be looked up" in result.output
    assert "Not known: what senders that enforce MTA-STS do." in result.output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("not a name",), "is no label"),
        (("user@example.test",), "did you mean example.test?"),
        (("example.test", "--resolver", "dns.example"), "is no server"),
        (("example.test", "--ca-file", "/nowhere.pem"), "/nowhere.pem has no usable certificate authorities"),
        (("example.test", "--ehlo", "a b"), "--ehlo: 'a b' is no label"),
        (("example.test", "--from-policy", "/nowhere"), "/nowhere: No such file or directory"),
        (("example.test", "--from-mx", "a b"), "is no label"),
        (("example.test", "--history", "/"), "/: Is a directory"),
        (("example.test", "--report-test"), "--report-test needs --contact"),
        (("example.test", "--report-test", "--contact", "a b@c.test"), "is no mail address"),
        ((*TESTED, "--dkim-selector", "one"), "go together"),
        ((*TESTED, "--dkim-selector", "one", "--dkim-key", "/nowhere"), "/nowhere: No such file"),
        ((*TESTED, "--dkim-selector", "one", "--dkim-key", "/dev/null"), "holds no private key"),
        ((*TESTED, "--dkim-selector", "a b", "--dkim-key", "/dev/null"), "is no selector"),
        ((*TESTED, "--relay", "a:b"), "is not host, host:port or [address]:port"),
        ((*TESTED, "--relay", "a.test:99999"), "is no port"),
        (("example.test", "--reports", "x"), "--reports goes with --from-policy"),
        (("example.test", "--relay", "a.test"), "--relay goes with --report-test"),
        (("example.test", "--from-policy", "/dev/null", "--reports", "x"), "senders could not use it"),
    ],
)
def test_bad_arguments_end_in_one_sentence_and_unknown(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 3
    assert words in result.output


def test_it_works_where_there_is_no_django(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "django").mkdir()
    (tmp_path / "django" / "__init__.py").write_text("raise ModuleNotFoundError('django')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mailward", "check", "--allow-private", "--nagios"]
    with lab.running():
        done = subprocess.run(
            [*command, *lab.arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"OK {DOMAIN}: Senders that enforce MTA-STS deliver to you.\n"
