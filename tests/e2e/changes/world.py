"""A policy changed again and again by a real Mailward with two policy hosts, while strangers' programs look on.

    unshare --net --mount python -m tests.e2e.changes.world FOLDER CHANGES KILLS [hurry]

Inside: the customer's DNS on 127.0.0.1:53, `mailward serve` (nameserver, worker, the first policy host on
127.0.0.2:443), a second policy host on 127.0.0.3:443. Every few changes a process is killed with SIGKILL. Each max_age
is used once, so that a body tells which version it is. The last line of the output is a JSON object. With `hurry`,
nobody waits for the lease of a worker that was killed, nor between two attempts: the time is written down as passed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
from tests.fakes.dns import FakeDns

ROOT = Path(__file__).parents[3]
DOMAIN, TOKEN, ZONE = "example.test", "t0ken", "sts.platform.test"
NODES = ("127.0.0.2", "127.0.0.3")
NAMESERVER_PORT = 5300
FIRST_MAX_AGE = 100_000
PEERS = {
    "postfix-mta-sts-resolver": ("sender", "resolver_peer.py"),
    "checkdmarc": ("check", "checkdmarc_peer.py"),
}


class CustomersDns(FakeDns):
    """The customer's zone, and a resolver's way to ours: what lies below our zone is asked of our nameserver."""

    def _fill(
        self, response: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> None:
        super()._fill(response, name, rdtype)
        last = name
        for rrset in response.answer:
            if rrset.rdtype == dns.rdatatype.CNAME:
                last = dns.name.from_text(rrset[0].to_text())
        if not last.is_subdomain(dns.name.from_text(ZONE)):
            return
        query = dns.message.make_query(last, rdtype)
        query.flags &= ~dns.flags.RD
        for _ in range(50):  # while it is started again after a kill, a resolver would try its other servers
            try:
                there = dns.query.udp(query, "127.0.0.1", 1, NAMESERVER_PORT)
                break
            except (OSError, dns.exception.Timeout):
                time.sleep(0.1)
        else:
            response.set_rcode(dns.rcode.SERVFAIL)
            return
        response.set_rcode(there.rcode())
        response.answer += there.answer


def environment(folder: Path, **more: str) -> dict[str, str]:
    settings = {
        "DATA": str(folder),
        "CONSOLE_PORT": "8000",
        "REPORTS_SMTP_PORT": "2525",
        "REPORTS_HTTPS_PORT": "8444",
        "POLICY_HOST_LISTEN": NODES[0],
        "POLICY_HOST_PORT": "443",
        "POLICY_HOST_NODES": " ".join(f"{node}:443" for node in NODES),
        "NAMESERVER_ZONE": ZONE,
        "NAMESERVER_PORT": str(NAMESERVER_PORT),
        "NAMESERVER_POLICY_ADDRESSES": " ".join(NODES),
        "NAMESERVER_TTL_SECONDS": "1",
        "NAMESERVER_REPLIES_PER_SECOND": "0",
        "NAMESERVER_REPLIES_PER_SECOND_AN_ADDRESS": "0",
        "DNS_RESOLVERS": "127.0.0.1",
        "DNS_AUTHORITATIVE_OVERRIDE": "127.0.0.1",
        "DNS_ALLOW_PRIVATE_ADDRESSES": "true",
        "WATCH_ENABLED": "false",
    }
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    return kept | {f"MAILWARD_{name}": text for name, text in (settings | more).items()}


@dataclass
class Process:
    """One that is started again when it was killed."""

    start: Callable[[], "subprocess.Popen[bytes]"]
    now: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.start()

    def kill(self) -> None:
        self.now.kill()
        self.now.wait()
        self.now = self.start()


class World:
    def __init__(self, folder: Path) -> None:
        self.data, self.log = folder / "data", (folder / "log").open("ab")
        self.customers = CustomersDns()
        self.customers.port = 53
        for label in ("_mta-sts", "mta-sts"):
            self.customers.set(f"{label}.{DOMAIN}", "CNAME", f"{label}.{TOKEN}.{ZONE}.")
        self.customers.set(DOMAIN, "MX", "10 mx.example.test.")

    def serve(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "mailward", "serve"]
        return subprocess.Popen(
            command, env=environment(self.data), stdout=self.log, stderr=self.log, cwd=ROOT
        )

    def second_host(self) -> "subprocess.Popen[bytes]":
        """With a folder of its own, which shares the database and the authority."""
        other = self.data.with_name("second")
        other.mkdir(exist_ok=True)
        for name in ("mailward.sqlite3", "ca", "secret.key", "key", "keys"):
            if (self.data / name).exists() and not (other / name).exists():
                (other / name).symlink_to(self.data / name)
        env = environment(other, POLICY_HOST_LISTEN=NODES[1])
        command = [sys.executable, "-m", "mailward", "_policy-host"]
        return subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log, cwd=ROOT)

    def child(self, server: int, name: str) -> int | None:
        """The process id of a child of `mailward serve`."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if parent == server and name.encode() in words:
                    return int(entry.name)
        return None


@dataclass
class Witness:
    """A program that looks at the domain: each of its lines is held against what was published until then."""

    process: "subprocess.Popen[str]"
    numbers: dict[str, int]
    """Id -> number of the version."""
    seen: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """It got no policy: senders keep what they have."""
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, policy_id, max_age, _mode = json.loads(line)
            self.seen[word] += 1
            if word != "VALID":
                self.failures.append(line.strip())
            elif (told := self.numbers.get(policy_id)) is None or max_age - FIRST_MAX_AGE < told:
                # RFC 8461 §8.1: the text may be newer than the id, never older
                self.faults.append(f"id of version {told} with the text of {max_age - FIRST_MAX_AGE}")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.thread.join()


def until(condition: Callable[[], object], seconds: float = 90) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, "waited in vain"
        time.sleep(0.05)
    return time.monotonic() - started


def run(folder: Path, changes: int, kills: int, *, is_hurried: bool) -> dict[str, Any]:
    world = World(folder)
    with world.customers.threaded():
        server = Process(world.serve)
        second = None
        try:
            until(lambda: b"Data  " in (folder / "log").read_bytes())
            second = Process(world.second_host)
            return _watch_changes(world, server, second, changes, kills, is_hurried=is_hurried)
        finally:
            if second is not None:
                second.now.terminate()
                second.now.wait(timeout=30)
            server.now.send_signal(signal.SIGTERM)
            server.now.wait(timeout=30)


def _watch_changes(
    world: World, server: Process, second: Process, changes: int, kills: int, *, is_hurried: bool
) -> dict[str, Any]:
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    os.environ.update(environment(world.data))
    from mailward.cli.children import set_up_django

    set_up_django()
    from mailward.core.mtasts.policy import Mode, Policy
    from mailward.net import clock
    from mailward.store.models import Domain, Organisation, OutboxItem, VersionStep
    from mailward.store.services.policies import publish_policy

    one = Organisation.objects.create(name="One", report_token="one")
    row = Domain.objects.create(
        organisation=one, name=DOMAIN, report_token="d", claim_token="c", delegation_token=TOKEN
    )
    numbers: dict[str, int] = {}

    def publish() -> None:
        number = len(numbers) + 1
        mode = (Mode.TESTING, Mode.ENFORCE)[number % 2]
        policy = Policy(mode, FIRST_MAX_AGE + number, ("mx.example.test", f"mx{number}.example.test"))
        version = publish_policy(one.pk, row.pk, policy, author_id=None)
        numbers[version.policy_id] = number

    def until_soon(condition: Callable[[], object]) -> float:
        def look() -> object:
            if is_hurried:
                OutboxItem.objects.filter(attempts__gt=0, claimed_until=None).update(available_at=clock.now())
            return condition()

        return until(look)

    def is_told() -> bool:
        row.refresh_from_db()
        return row.announced_version_id == row.current_version_id

    publish()
    until(is_told)
    until(lambda: VersionStep.objects.filter(kind="seen", done_at__isnull=False).exists())
    witnesses = {name: Witness(_start(world, *peer), numbers) for name, peer in PEERS.items()}
    victims = ("_worker", "_policy-host", "_nameserver", "second host")
    killed: list[str] = []
    waits = []
    for number in range(2, changes + 1):
        publish()
        if kills and number % max(changes // kills, 1) == 0 and len(killed) < kills:
            victim = victims[len(killed) % len(victims)]
            killed.append(victim)
            time.sleep(0.1 * (len(killed) % 8))  # at another moment of the change each time
            if victim == "second host":
                second.kill()
            elif (pid := world.child(server.now.pid, victim)) is not None:
                os.kill(pid, signal.SIGKILL)
            if is_hurried and victim == "_worker":
                OutboxItem.objects.exclude(claimed_until=None).update(claimed_until=clock.now())
            publish()  # a change during a change
        waits.append(until_soon(is_told))
    done = VersionStep.objects.filter(version_id=row.current_version_id, done_at__isnull=False)
    work = OutboxItem.objects.filter(kind__in=("announce", "seen"))
    until_soon(lambda: done.filter(kind="seen").exists() and done.filter(kind="served").count() == len(NODES))
    until_soon(lambda: not work.exists())
    last = row.current_version.policy_id if row.current_version else ""
    until(lambda: _told_by_dns() == last)
    time.sleep(2)
    for witness in witnesses.values():
        witness.end()
    return {
        "changes": len(numbers),
        "killed": killed,
        "longest": round(max(waits), 1),
        "seen": {name: dict(witness.seen) for name, witness in witnesses.items()},
        "faults": {name: witness.faults[:5] for name, witness in witnesses.items()},
        "failures": {name: witness.failures for name, witness in witnesses.items()},
        "unfinished": VersionStep.objects.filter(done_at=None).count(),
    }


def _told_by_dns() -> str:
    query = dns.message.make_query(f"_mta-sts.{DOMAIN}", "TXT")
    answer = dns.query.udp(query, "127.0.0.1", 5).answer
    return str(answer[-1][0]).partition("id=")[2].partition(";")[0] if answer else ""


def _start(world: World, venv: str, script: str) -> "subprocess.Popen[str]":
    command = [str(ROOT / f".venv-bench-{venv}/bin/python"), str(Path(__file__).with_name(script)), DOMAIN]
    authority = str(world.data / "ca" / "ca.pem")
    trust = {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority}
    return subprocess.Popen(
        command,
        env=os.environ | trust,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=world.log,
        text=True,
    )


def main() -> None:
    folder = Path(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    subprocess.run(
        ["mount", "--bind", str(folder / "resolv.conf"), str(Path("/etc/resolv.conf").resolve())], check=True
    )
    changes, kills = int(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(json.dumps(run(folder, changes, kills, is_hurried="hurry" in sys.argv)) + "\n")


if __name__ == "__main__":
    main()
