"""Report mail through the real Postfix 3.10: it arrives whatever becomes of TLS, is not reported itself, and comes back
to where it is understood.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from tests.e2e.postfix.bed import SMTP_PORT, Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site
from tests.sender.reportlab import tally

from mailward.lab.mta import HOME
from mailward.net import clock
from mailward.sender.counts import Counts

pytestmark = pytest.mark.timeout(600)

WAIT_SECONDS = 90  # a bound for a busy machine

SUB = "sub.good.test"
SUB_RECORD = f"v=TLSRPTv1; rua=mailto:tls@{SUB}"
DOMAINS = (
    Domain(
        "good",
        policy=policy("enforce", "valid.mx.test"),
        extra=("sub MX 10 valid.mx.test.", f'_smtp._tls.sub TXT "{SUB_RECORD}"'),
    ),
    Domain("broken", mx=("plain",), policy=policy("enforce", "plain.mx.test")),
    Domain("takes-none", mx=(), extra=("@ MX 0 .",)),
    Domain("back", site="tlsrpt-bounce"),
)
# what docs/tlsrpt-reports.md says, but for the user
PIPE = (
    "tlsrpt-bounce unix - n n - 1 pipe user=nobody"
    " argv=/opt/mailward/bin/mailward sender bounce --config /etc/mailward/mailward.toml ${recipient}"
)
BOUNCES = (
    ("postconf", "-c", HOME, "-e", "recipient_delimiter = +"),
    ("postconf", "-c", HOME, "-M", f"tlsrpt-bounce/unix={PIPE}"),
    ("postfix", "-c", HOME, "reload"),
)
# Mailward is not in Postfix's tree: this stands in its place there, and hands on what pipe(8) gives and wants
STAND_IN = """#!/bin/sh
set -e
call=$(mktemp -d /lab/calls/XXXXXX)
cat > "$call/stdin"
printf '%s\\n' "$@" > "$call/words"
mv "$call/words" "$call/ready"
while [ ! -e "$call/done" ]; do sleep 0.1; done
exit "$(cat "$call/done")"
"""
# what docs/tlsrpt-reports.md says: a transport of its own, chosen by the envelope sender
TRANSPORT = (
    ("postconf", "-c", HOME, "-e", "sender_dependent_default_transport_maps=inline:{{@back.test = tlsrpt:}}"),
    ("postconf", "-c", HOME, "-M", "tlsrpt/unix=tlsrpt unix - - n - 2 smtp"),
    ("postconf", "-c", HOME, "-P", "tlsrpt/unix/smtp_tlsrpt_enable=no"),
    ("postconf", "-c", HOME, "-P", "tlsrpt/unix/smtp_tls_security_level=may"),
    ("postconf", "-c", HOME, "-P", "tlsrpt/unix/smtp_tls_policy_maps="),
    ("postfix", "-c", HOME, "reload"),
)


@dataclass
class House:
    bed: Bed
    datagrams: socket.socket
    folder: Path
    day_number: int = 2

    def count(self, domain: str, rua: str) -> None:
        counts = Counts(self.folder / "sender-tlsrpt.sqlite3")
        self.day_number += 1  # each of its own day
        counts.add([tally(domain, day=clock.today() - timedelta(days=self.day_number), record=rua)])
        counts.close()

    def command(self, *words: str, stdin: bytes = b"") -> str:
        """`mailward sender ...` on the sending host."""
        command = [
            sys.executable,
            "-m",
            "mailward",
            "sender",
            *words,
            "--config",
            str(self.folder / "mailward.toml"),
        ]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")}
        done = subprocess.run(
            [*self.bed.network.inside("sender"), *command],
            input=stdin,
            capture_output=True,
            env=kept,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def report(self, domain: str) -> None:
        """About that domain, to the tls@ address there."""
        self.count(domain, f"v=TLSRPTv1; rua=mailto:tls@{domain}")
        self.command("reporter", "--once")

    def signals(self, domain: str) -> int:
        """Of TLS handshakes for mail to the domain, since last asked."""
        found = 0
        while True:
            try:
                found += json.loads(self.datagrams.recv(65_536))["d"] == domain
            except BlockingIOError:
                return found

    def answer_pipe(self) -> list[str]:
        """What pipe(8) has started, done in its place; its arguments."""
        calls = self.bed.senders["3.10"].home / "calls"
        ends = time.monotonic() + WAIT_SECONDS
        while not (ready := list(calls.glob("*/ready"))):
            assert time.monotonic() < ends, self.bed.senders["3.10"].log()
            time.sleep(0.1)
        [call] = [path.parent for path in ready]
        words = (call / "ready").read_text().splitlines()
        said = self.command(*words[1:2], words[-1], stdin=(call / "stdin").read_bytes())
        assert said.startswith("Came back: takes-none.test")
        (call / "done").write_text("0\n")
        return words

    def deliver(self, recipient: str, sender: str = "alice@sender.test") -> None:
        """An ordinary mail, until it has left."""
        postfix = self.bed.senders["3.10"]
        before = postfix.log().count("status=")
        text = f"From: <{sender}>\nTo: <{recipient}>\nSubject: A question\n\nHow do you do?\n"
        postfix.command("sendmail", "-C", HOME, "-f", sender, recipient, text=text)
        postfix.wait_for_count("status=", before + 1)


@pytest.fixture(scope="module")
def house(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_bed(DOMAINS, [Site("may", 8461)]) as bed:
        path = bed.senders["3.10"].home / "spool" / "tlsrpt.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(str(path))
            datagrams.setblocking(False)
            path.chmod(0o666)
            folder = tmp_path_factory.mktemp("reports")
            (folder / "mailward.toml").write_text(
                f'data = "{folder}"\n[tlsrpt]\nsocket = "{path}"\ncontact = "tls-reports@back.test"\n'
                'envelope_sender = "bounces+*@back.test"\nsmtp_host = "127.0.0.1"\n'
                f"smtp_port = {SMTP_PORT + 1}\nspread_minutes = 0\nsuppress_after_days = 1\n"
            )
            tree = bed.senders["3.10"].root
            (tree / "opt/mailward/bin").mkdir(parents=True)
            (tree / "opt/mailward/bin/mailward").write_text(STAND_IN)
            (tree / "opt/mailward/bin/mailward").chmod(0o755)
            (tree / "lab/calls").mkdir()
            (tree / "lab/calls").chmod(0o777)
            yield House(bed, datagrams, folder)


def test_g4_a_report_arrives_where_enforced_tls_stops_all_other_mail(house: House) -> None:
    house.bed.send("broken")
    assert house.bed.delivery("broken", "3.10").status == "deferred"
    house.report("broken.test")
    assert house.bed.mailboxes.wait_for("tls@broken.test", 1) == {"plain.mx.test plain": 1}


def test_g4_no_report_is_about_the_delivery_of_reports(house: House) -> None:
    house.deliver("bob@good.test")
    assert house.signals("good.test") == 1
    house.report("good.test")
    house.bed.mailboxes.wait_for("tls@good.test", 1)
    assert house.signals("good.test") == 0
    house.deliver("bob@good.test")
    assert house.signals("good.test") == 1


def test_mail_that_comes_back_through_pipe_is_understood_and_suppresses_its_rua(house: House) -> None:
    for command in BOUNCES:
        house.bed.senders["3.10"].command(*command)
    house.report("takes-none.test")
    row = json.loads(house.command("reports", "takes-none.test", "--json"))
    assert row["state"] == "delivered"
    recipient = f"bounces+{row['token']}@back.test"
    assert house.answer_pipe() == ["sender", "bounce", "--config", "/etc/mailward/mailward.toml", recipient]
    house.bed.senders["3.10"].wait_for_count(f"to=<{recipient}>, relay=tlsrpt-bounce,", 1)
    assert house.bed.senders["3.10"].deliveries()[recipient].status == "sent"
    row = json.loads(house.command("reports", "takes-none.test", "--json"))
    assert (row["state"], "nullMX" in row["outcome"]) == ("bounced", True), row
    assert "mailto:tls@takes-none.test" in house.command("reports", "--suppressed")
    house.report("takes-none.test")
    states = [
        json.loads(line)["state"]
        for line in house.command("reports", "takes-none.test", "--json").splitlines()
    ]
    assert sorted(states) == ["bounced", "suppressed"]


def test_a_transport_of_its_own_sends_no_signals_whatever_the_header(house: House) -> None:
    postfix = house.bed.senders["3.10"]
    postfix.command("postconf", "-c", HOME, "-e", "smtp_tls_security_level=may")
    postfix.command("postfix", "-c", HOME, "reload")
    house.deliver(f"bob@{SUB}", "bounces+x@back.test")
    assert house.signals(SUB) == 1
    for command in TRANSPORT:
        postfix.command(*command)
    house.deliver(f"bob@{SUB}", "bounces+x@back.test")
    assert house.signals(SUB) == 0
    house.deliver(f"bob@{SUB}")
    assert house.signals(SUB) == 1
