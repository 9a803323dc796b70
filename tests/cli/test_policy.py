import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.policyhost import GOOD_POLICY, PolicyHost, http
from typer.testing import CliRunner, Result

from mailward.cli.policy import app
from mailward.cli.problem import Problem


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def lint(body: bytes, *arguments: str) -> Result:
    return run("lint", "-", *arguments, stdin=body)


def test_a_clean_policy_exits_0(tmp_path: Path) -> None:
    file = tmp_path / "mta-sts.txt"
    file.write_bytes(GOOD_POLICY)
    result = run("lint", str(file))
    assert (result.exit_code, result.output) == (0, f"{file}: a valid policy, mode enforce\n")


def test_a_policy_to_mend_exits_1_and_says_where() -> None:
    result = lint(GOOD_POLICY.replace(b"604800", b"60") + b"mode: none\n")
    assert result.exit_code == 1
    assert "-:4: warning: [max_age] max_age is 60 seconds" in result.output
    assert (
        "-:5: warning: [mode] mode is given again and ignored: line 2 counts (RFC 8461 section 3.2)"
        in result.output
    )


def test_an_unusable_policy_exits_2_and_tells_everything() -> None:
    result = lint(b"version: STSv1\n\nmode: Enforce\nmx: a_b.example\n")
    assert result.exit_code == 2
    for words in (
        "-:2: error: the line is blank",
        "-:3: error: [mode]",
        "-:4: error: [mx]",
        "-: error: [max_age]",
    ):
        assert words in result.output


def test_lint_as_json_is_one_object() -> None:
    value = json.loads(lint(GOOD_POLICY + b"x: 1\n", "--json").output)
    assert value["policy"] == {
        "mode": "enforce",
        "max_age": 604800,
        "mx": ["mx1.example.test"],
        "extensions": [["x", "1"]],
    }
    assert [(problem["code"], problem["line"], problem["level"]) for problem in value["problems"]] == [
        ("unknown-field", 5, "note")
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    result = run("lint", str(tmp_path / "none.txt"))
    assert isinstance(result.exception, Problem)
    assert "none.txt: No such file" in str(result.exception)


def test_megabytes_are_read_no_further_than_needed() -> None:
    result = lint(b"x" * 5_000_000)
    assert result.exit_code == 2
    assert "larger than 65536 bytes" in result.output


def test_no_control_character_reaches_the_terminal() -> None:
    result = lint(b"mode: \x1b[31mred\n\xff\x1b]0;title\x07: x\n" + "mx: \x9b.example\n".encode())
    assert "\x1b" not in result.output
    assert "\x9b" not in result.output


class Lab:
    """A domain whose DNS and policy host run on loopback while commands ask them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.dns = FakeDns()
        self.dns.set("example.test", "MX", "10 mx1.example.test.")
        self.dns.set("_mta-sts.example.test", "TXT", "v=STSv1; id=20261124;")
        self.dns.set("mta-sts.example.test", "A", "127.0.0.1")
        self.dns.set("_smtp._tls.example.test", "TXT", "v=TLSRPTv1; rua=mailto:abc@reports.test")
        self.host = PolicyHost(self.authority.issue("mta-sts.example.test"), http())

    @contextmanager
    def running(self) -> Iterator["Lab"]:
        started, loop = threading.Event(), asyncio.new_event_loop()
        ended = asyncio.Event()

        async def live() -> None:
            async with self.dns, self.host.running():
                started.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.close()

    def show(self, *arguments: str) -> Result:
        port, authority = str(self.host.port), str(self.authority.file)
        lab = ("--resolver", self.dns.address, "--port", port, "--ca-file", authority, "--allow-private")
        return run("show", "example.test", *lab, *arguments)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path).running() as lab:
        yield lab


def test_a_live_domain_in_good_order_is_shown_whole(lab: Lab) -> None:
    result = lab.show()
    assert result.exit_code == 0, result.output
    for words in (
        "TXT v=STSv1; id=20261124;",
        "mode enforce, kept for 604800 seconds (7 days)",
        "served by 127.0.0.1 with TLSv1.3, certificate for mta-sts.example.test",
        "issued by Test Authority",
        "mx1.example.test  covered by mx1.example.test",
        "sent to: mailto:abc@reports.test",
        "All is well.",
    ):
        assert words in result.output


def test_the_same_as_json(lab: Lab) -> None:
    value = json.loads(lab.show("--json").output)
    assert value["mx"] == [{"host": "mx1.example.test", "pattern": "mx1.example.test"}]
    assert (value["usable"], value["clean"], value["fetch"]["error"]) == (True, True, None)
    assert value["record"]["value"] == "20261124"


def test_s15_an_mx_outside_the_policy_is_told(lab: Lab) -> None:
    lab.dns.set("example.test", "MX", "10 mx1.example.test.", "20 mx9.example.test.")
    result = lab.show()
    assert result.exit_code == 1
    assert "mx9.example.test  NOT COVERED by the policy: senders do not deliver to it" in result.output
    assert "1 of 2 MX hosts are not in the policy." in result.output


def test_a_failed_fetch_names_what_senders_report(lab: Lab, tmp_path: Path) -> None:
    lab.authority = Authority(tmp_path, "Other Authority")
    result = lab.show()
    assert result.exit_code == 2
    assert "senders report: sts-webpki-invalid" in result.output


def test_a_bad_policy_is_told_line_by_line(lab: Lab) -> None:
    lab.host.response = http(b"version: STSv1\nmode: enforce\nmax_age: 86400\n")
    result = lab.show()
    assert result.exit_code == 2
    assert "error: [mx] no mx field" in result.output
    assert "sts-policy-invalid" in result.output


def test_a_domain_without_record_is_told_and_its_policy_shown_all_the_same(lab: Lab) -> None:
    lab.dns.remove("_mta-sts.example.test", "TXT")
    result = lab.show()
    assert result.exit_code == 2
    assert "problem: no TXT record" in result.output
    assert "mode enforce" in result.output


def test_without_dns_there_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        result = run("show", "example.test", "--resolver", address)
    assert isinstance(result.exception, Problem)
    assert str(result.exception) == f"DNS gives no answer about example.test: {address}: no answer in time"


def test_a_full_disk_and_closed_streams_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(GOOD_POLICY)
    command = f"{sys.executable} -m mailward policy lint"
    for line, sentence in (
        (f"{command} {tmp_path}/policy >/dev/full", b"mailward: standard output: No space left on device\n"),
        (f"{command} {tmp_path}/policy >&-", b"mailward: standard output is closed\n"),
        (f"{command} - <&-", b"mailward: standard input is closed\n"),
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (2, sentence)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("not a name",), "is no label"),
        (("example.test", "--resolver", "dns.example"), "is no server"),
        (("user@example.test",), "did you mean example.test?"),
        (("https://example.test:443/x",), "did you mean example.test?"),
        (("a@b@/",), "is no domain name"),
    ],
)
def test_bad_arguments_end_in_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    result = run("show", *arguments)
    assert isinstance(result.exception, Problem)
    assert words in str(result.exception)
