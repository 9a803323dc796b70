"""An empty Debian, and a person who does what the documentation says, word by word.

`scripts/try-docs` boots that Debian and runs this in its network namespace: python -m tests.docs.follow PROCESS-1. The
marked blocks of the pages (tests/docs/marked.py) are run in there; between them is looked whether it is as the page
says. One line for each thing that was seen; the first that is not so ends it with a status. The zone of the domain,
and who reports, are real servers and keys of this process.
"""

import gzip
import json
import re
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import dns.message
import dns.query
from tests.docs.browsing import Person
from tests.docs.marked import Block, read_blocks
from tests.fakes.dns import FakeDns
from tests.fakes.signer import Signer, google_mail, report_json

DOCS = Path(__file__).parents[2] / "docs"
# of docs/first-domain.md
DOMAIN, POLICY_HOST, REPORTS, ADDRESS = (
    "example.org",
    "policies.example.net",
    "reports.example.net",
    "192.0.2.80",
)
NAMESERVER = "192.0.2.53"  # of the world; the Debian may have a resolver of its own on loopback
POLICY = f"https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt"
MAIN = "mailward.service"
ZONE = "sts.example.net"
BACKUPS = "/srv/backups"  # of docs/backup.md
WAIT_SECONDS = 240
ELSEWHERE = {
    ("migrate-from-parsedmarc.md", "parsedmarc"),  # followed by tests/docs/test_parsedmarc.py
    ("ports.md", "behind-a-front"),  # and these by tests/packaging/booted_deb.py
    ("first-domain.md", "acme-socket"),
}
DAYS = ("2026-11-23", "2026-11-24", "2026-11-25")
OLD_SETTINGS = """data = "/var/lib/mailward"
[reports]
domain = "reports.example.net"
"""
# what stands between this Debian and the world is a laboratory: its MX hosts and its DNS are on loopback
LABORATORY = "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES=true\n"


def seen(what: str, is_so: object, detail: object = "") -> None:
    if not is_so:
        sys.exit(f"NOT {what}: {detail}")
    sys.stdout.write(f"ok  {what}\n")
    sys.stdout.flush()


def until(what: str, look: Callable[[], object], tell: Callable[[], str] = str) -> None:
    """`tell`: what helps to see why not."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"NOT {what}, in {WAIT_SECONDS} seconds\n{tell()}")
        time.sleep(0.5)
    seen(what, is_so=True)


class Machine:
    """The Debian, and what its owner types."""

    def __init__(self, init: int) -> None:
        self._enter = ["nsenter", f"--target={init}", "--all", "--root", "--wd"]

    def run(self, script: str, *, may_fail: bool = False, where: str = "") -> str:
        """The standard output of what a shell does as root; what fails ends this program."""
        command = [
            *self._enter,
            "env",
            "-i",
            "HOME=/root",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
        ]
        command += ["bash", "-euo", "pipefail", "-c", f"cd /root\n{script}"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode and not may_fail:
            log = self.run("journalctl --no-pager --lines 60", may_fail=True)
            sys.exit(f"NOT {where or script}: status {done.returncode}\n{done.stdout}{done.stderr}\n{log}")
        return done.stdout

    def write(self, path: str, content: bytes) -> None:
        folder = str(Path(path).parent)
        command = [*self._enter, "bash", "-c", f"mkdir -p '{folder}' && cat >'{path}'"]
        subprocess.run(command, input=content, check=True, timeout=60)

    def follow(self, blocks: Iterable[Block]) -> str:
        """What these blocks print, all together."""
        printed = []
        for block in blocks:
            if block.file:
                self.write(block.file, block.text.encode())
            else:
                printed.append(self.run(block.text, where=f"docs/{block.page}:{block.line}"))
        return "".join(printed)


class Documentation:
    """The steps of a page, each followed once or more; at the end none may be left out."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._blocks: dict[tuple[str, str], list[Block]] = {}
        self._followed: set[tuple[str, str]] = set()

    def follow(self, page: str, step: str) -> str:
        blocks = [block for block in read_blocks(DOCS / page) if block.step == step]
        seen(f"{page} has a step {step!r}", blocks)
        self._followed.add((page, step))
        printed = self._machine.follow(blocks)
        seen(f"{page}: {step} is done", is_so=True)
        return printed

    def left_out(self) -> list[str]:
        marked = {(page.name, block.step) for page in DOCS.glob("*.md") for block in read_blocks(page)}
        return [f"{page}: {step}" for page, step in sorted(marked - self._followed - ELSEWHERE)]


class World:
    """DNS as strangers see it, and two of them who report."""

    def __init__(self, names: FakeDns) -> None:
        self.dns = names
        for zone in ("example.org", "example.net"):
            names.delegate(zone, f"ns.{zone}.")
            names.set(f"ns.{zone}", "A", NAMESERVER)
        names.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.")
        names.set(f"mx.{DOMAIN}", "A", ADDRESS)
        names.set(POLICY_HOST, "A", ADDRESS)
        names.set(REPORTS, "A", ADDRESS)
        self.signer = Signer("google.test")
        self.signer.publish(names)

    def publish(self, records: str) -> None:
        """What the page says to publish, in the form of a zone file."""
        for line in records.splitlines():
            if found := re.fullmatch(r'(\S+)\. \d+ IN (\w+) (?:"(.*)"|(\S+))', line):
                name, kind, text, plain = found.groups()
                self.dns.set(name, kind, text if kind == "TXT" else plain)

    def send_report(self, address: str, day: str) -> None:
        """As Google does: signed, by mail, to the address in the record."""
        report = report_json(DOMAIN, day=day, report_id=f"{day}T00:00:00Z_{DOMAIN}")
        raw = google_mail(report, recipient=address, report_domain=DOMAIN)
        with smtplib.SMTP(ADDRESS, 25, timeout=60) as client:
            client.sendmail("noreply@google.test", [address], self.signer.sign(raw))


def report_file(day: str) -> bytes:
    return gzip.compress(json.dumps(report_json(DOMAIN, day=day, report_id=f"file-{day}")).encode())


def is_shown(page: str, day: str) -> bool:
    return f"{int(day[-2:])} Nov 2026" in page


def fetch_policy(machine: Machine) -> str:
    """As a sender does: the name from DNS, the certificate checked."""
    return machine.run(
        f"curl --silent --show-error --max-time 10 --cacert /var/lib/mailward/ca/ca.pem {POLICY}",
        may_fail=True,
    )


def is_all_there(machine: Machine, person: Person, days: Iterable[str], when: str) -> None:
    until(f"{when}, senders fetch the policy", lambda: "mode: testing" in fetch_policy(machine))
    until(f"{when}, the same person signs in", person.sign_in)
    shown = person.read(f"/domains/{DOMAIN}/reports/")
    seen(f"{when}, every report is there", all(is_shown(shown, day) for day in days), shown[-2000:])


def install(machine: Machine, pages: Documentation) -> None:
    pages.follow("first-domain.md", "install")
    machine.write("/etc/mailward/environment", LABORATORY.encode())


def set_up(machine: Machine, pages: Documentation, world: World) -> Person:
    machine.write("/etc/resolv.conf", f"nameserver {NAMESERVER}\n".encode())
    install(machine, pages)
    taken = [line for line in machine.run("ss -Hltun").splitlines() if f"{NAMESERVER}:53" not in line]
    seen("the installation takes no port", not taken, taken)
    pages.follow("first-domain.md", "configure")
    until(
        "the service is up",
        lambda: machine.run(f"systemctl is-active {MAIN}", may_fail=True).strip() == "active",
    )
    link = pages.follow("first-domain.md", "come-in").strip()
    person = Person("ada@example.net", "correct horse battery")
    until("the link makes the first administrator", lambda: person.come_in(link))
    return person


def first_domain(machine: Machine, pages: Documentation, world: World, person: Person) -> None:
    said = pages.follow("first-domain.md", "add")
    seen("the domain is added, in testing mode", f"new\t{DOMAIN}\ttesting" in said, said)
    until("the policy is served", lambda: "mode: testing" in machine.run(_block("look"), may_fail=True))
    pages.follow("first-domain.md", "look")
    records = pages.follow("first-domain.md", "records")
    world.publish(records)
    until("senders fetch the policy by its name", lambda: f"mx: mx.{DOMAIN}" in fetch_policy(machine))
    machine.write("/root/reports/monday.json.gz", report_file(DAYS[0]))
    pages.follow("first-domain.md", "report")
    found = re.search(rf"mailto:(\S+@{re.escape(REPORTS)})", records)
    seen("the record has a report address", found, records)
    assert found
    world.send_report(found[1], DAYS[1])
    until(
        "both reports are on the page",
        lambda: all(is_shown(person.read(f"/domains/{DOMAIN}/reports/"), day) for day in DAYS[:2]),
        lambda: machine.run("journalctl --no-pager --lines 40", may_fail=True),
    )


def loss_and_return(machine: Machine, pages: Documentation) -> None:
    """A backup, a machine that loses everything else, and the same machine from that backup."""
    pages.follow("backup.md", "backup")
    pages.follow("backup.md", "verify")
    machine.run("cp /var/backups/mailward.tar.gz /root/ && apt-get purge --yes mailward && rm -rf /var/backups")
    left = machine.run(
        "find /etc/mailward /etc/systemd/system/*.wants/mailward* /opt/mailward /var/lib/mailward", may_fail=True
    )
    seen("a purge leaves nothing", not left, left)
    seen("after the loss, nobody serves the policy", not fetch_policy(machine))
    machine.run("mkdir /var/backups && mv mailward.tar.gz /var/backups/")
    install(machine, pages)
    pages.follow("backup.md", "restore")


def another_disk(machine: Machine, pages: Documentation) -> None:
    """Backups to a folder that the units may write to by their drop-ins alone."""
    settings = machine.run("cat /etc/mailward/mailward.toml")
    machine.write("/etc/mailward/mailward.toml", f'{settings}\n[backup]\nfolder = "{BACKUPS}"\n'.encode())
    pages.follow("backup.md", "other-disk")
    machine.run("systemctl start mailward-backup.service")
    made = machine.run(f"ls {BACKUPS}")
    seen("the backup of every night goes there", made.startswith("mailward-"), made)


def back_and_forth(machine: Machine, pages: Documentation) -> None:
    """To 0.1.0 and its tables, and to this release again by a package that apt takes for a later one."""
    pages.follow("upgrade.md", "step-back")
    machine.write("/root/old.toml", OLD_SETTINGS.encode())
    machine.write("/root/reports/wednesday.json.gz", report_file(DAYS[2]))
    old = "env PYTHONPATH=/root/mailward-0.1.0/src /opt/mailward/bin/python -m mailward"
    as_mailward = "runuser -u mailward -- "
    machine.run("chmod 755 /root && chown -R mailward: /root/reports /root/old.toml")
    seen("0.1.0 is what runs", "0.1.0" in machine.run(f"{as_mailward}{old} version"))
    machine.run(f"{as_mailward}{old} report import --config /root/old.toml --domain {DOMAIN} /root/reports/")
    machine.run(
        "mkdir /root/before && mv /root/mailward_*.deb /root/before/ && mv /root/next.deb /root/mailward_NEW_amd64.deb"
    )
    said = pages.follow("upgrade.md", "rehearse")
    is_tried = "store.0017_announced_at\n" in said and "The database itself was not changed." in said
    seen("the new release tries its change of the tables before it is installed", is_tried, said)
    pages.follow("upgrade.md", "upgrade")
    pages.follow("upgrade.md", "forward")
    made = machine.run(f"cd {BACKUPS} && ls before-0017*", may_fail=True)
    seen("the service's backup before the tables changed lies on the other disk", made)


def nameserver_beside_a_resolver(machine: Machine, pages: Documentation) -> None:
    pages.follow("install.md", "resolver")
    taken = machine.run("ss -Hltun 'sport = :53'")
    seen("the resolver has port 53 on loopback", "127.0.0.1:53" in taken, taken)
    settings = machine.run("cat /etc/mailward/mailward.toml")
    ours = f'{settings}\n[nameserver]\nzone = "{ZONE}"\nlisten = "{ADDRESS}"\n'
    machine.write("/etc/mailward/mailward.toml", ours.encode())
    pages.follow("ports.md", "nameserver-beside-a-resolver")
    question = dns.message.make_query(ZONE, "SOA")
    for ask in (dns.query.udp, dns.query.tcp):
        answer = ask(question, ADDRESS, timeout=60)
        seen(f"the nameserver answers beside it, by {ask.__name__}", answer.answer, answer)


def _block(step: str) -> str:
    [block] = [block for block in read_blocks(DOCS / "first-domain.md") if block.step == step]
    return block.text


def main(init: int) -> None:
    machine = Machine(init)
    for address in (ADDRESS, NAMESERVER):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    names = FakeDns(host=NAMESERVER)
    names.port = 53
    pages = Documentation(machine)
    with names.threaded():
        world = World(names)
        person = set_up(machine, pages, world)
        first_domain(machine, pages, world, person)
        is_all_there(machine, person, DAYS[:2], "before the loss")
        loss_and_return(machine, pages)
        is_all_there(machine, person, DAYS[:2], "after the restore")
        another_disk(machine, pages)
        back_and_forth(machine, pages)
        is_all_there(machine, person, DAYS, "after the upgrade")
        nameserver_beside_a_resolver(machine, pages)
        seen("no step of the documentation is left out", not pages.left_out(), pages.left_out())


if __name__ == "__main__":
    main(int(sys.argv[1]))
