"""Postfix in a Debian tree of its own, with its own configuration, queue and log, on a host of the network."""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailward.lab.faults import LabFault
from mailward.lab.network import Network, run
from mailward.net import clock

SCRIPT = Path(__file__).with_name("postfix-tree")
HOME = "/lab"  # of the instance, inside its tree
RESOLV_CONF = "nameserver 127.0.0.1\noptions trust-ad edns0 timeout:2\n"
DELIVERY_SECONDS = 150  # a bound for a busy machine, not a wait

_LOGGED = re.compile(
    r"to=<(?P<to>[^>]+)>,.* relay=(?P<relay>\S+),.* dsn=(?P<dsn>[0-9.]+), status=(?P<status>\w+) \((?P<text>.*)\)"
)
_QUEUED = re.compile(r": (\w+): to=<([^>]+)>,")

_MAIN = """\
compatibility_level = 3.6
queue_directory = /lab/spool
data_directory = /lab/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
alias_database =
maillog_file = /lab/mail.log
maillog_file_prefixes = /lab
queue_run_delay = 3000s
minimal_backoff_time = 3000s
"""

_MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def is_ready(suite: str) -> bool:
    """Whether its tree has been made: as the script names it."""
    cache = Path(os.environ.get("MAILWARD_TREES", "/var/cache/mailward"))
    return (cache / f"postfix-{suite}-{hashlib.sha256(SCRIPT.read_bytes()).hexdigest()[:8]}.ready").exists()


def find_tree(suite: str) -> Path:
    return Path(run("bash", SCRIPT, suite).strip())


@dataclass(frozen=True)
class Delivery:
    """What Postfix's log says about one recipient."""

    status: str
    relay: str
    dsn: str
    text: str


@dataclass
class Postfix:
    suite: str
    """Of Debian: bookworm has 3.7, trixie 3.10."""
    root: Path
    """Of a tree of its own."""
    network: Network
    host: str
    smtp_port: int = 0
    """On loopback, for streams of mail; 0: it takes none."""
    log_begins: int = 0
    """So much of its log is left out, in bytes."""

    @classmethod
    def unpack(cls, suite: str, root: Path, network: Network, host: str) -> "Postfix":
        """By hard links: what a file of the tree holds must never be changed."""
        run("cp", "-al", find_tree(suite), root)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        return cls(suite, root, network, host)

    @property
    def home(self) -> Path:
        return self.root / HOME[1:]

    def configure(self, main: dict[str, str], services: list[str], files: dict[str, bytes]) -> None:
        (self.home / "spool").mkdir(parents=True)
        for name, content in files.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        ours = _MAIN.format(hostname=f"{self.host}.test").splitlines(keepends=True)
        lines = "".join(line for line in ours if line.partition(" =")[0] not in main)
        lines += "".join(f"{k} = {v}\n" for k, v in main.items())
        if not (self.root / "dev/urandom").exists():  # root of a user namespace makes no devices
            lines += "tls_random_source =\n"
        (self.home / "main.cf").write_text(lines)
        if self.smtp_port:
            services = [f"127.0.0.1:{self.smtp_port} inet n - n - - smtpd", *services]
        (self.home / "master.cf").write_text(_MASTER + "".join(f"{line}\n" for line in services))
        (self.root / "etc/resolv.conf").write_text(RESOLV_CONF)
        (self.home / "data").mkdir()
        self.command("chown", "postfix", f"{HOME}/data")  # else master says nothing and does nothing

    def command(self, *command: str, text: str = "") -> str:
        return run(*self.network.inside(self.host), "chroot", self.root, *command, text=text)

    def start(self) -> None:
        self.command("postfix", "-c", HOME, "start")

    def version(self) -> str:
        return self.command("postconf", "-c", HOME, "-h", "mail_version").strip()

    def look_up(self, key: str, table: str) -> str:
        """What a table says; empty: nothing, or that it cannot say."""
        inside = [*self.network.inside(self.host), "chroot", str(self.root)]
        done = subprocess.run(
            [*inside, "postmap", "-c", HOME, "-q", key, table], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    def send(self, recipient: str, body: str = "How do you do?") -> None:
        text = f"From: <alice@sender.test>\nTo: <{recipient}>\nSubject: A question\n\n{body}\n"
        self.command("sendmail", "-C", HOME, "-f", "alice@sender.test", recipient, text=text)

    def try_again(self, recipients: Sequence[str]) -> None:
        """Mail to these that waits in the queue; returns when it was tried."""
        queued = {found[2]: found[1] for found in _QUEUED.finditer(self.log())}
        counts = {to: self.log().count(f" to=<{to}>") for to in recipients}
        for to in recipients:
            self.command("postqueue", "-c", HOME, "-i", queued[to])
        for to, count in counts.items():
            self.wait_for_count(f" to=<{to}>", count + 1)

    def stream(self, recipient: str, count: int) -> None:
        """So many messages as fast as it takes them, by SMTP."""
        options = ["-s", "5", "-m", str(count), "-f", "alice@sender.test", "-t", recipient]
        self.command("smtp-source", *options, f"inet:127.0.0.1:{self.smtp_port}")

    def forget_log(self) -> None:
        self.log_begins = 0
        (self.home / "mail.log").write_text("")

    def leave_log(self) -> None:
        """What is in it up to now is the past; the file stays as it is, for who follows it."""
        path = self.home / "mail.log"
        self.log_begins = path.stat().st_size if path.exists() else 0

    def log(self) -> str:
        path = self.home / "mail.log"
        return path.read_bytes()[self.log_begins :].decode(errors="replace") if path.exists() else ""

    def deliveries(self) -> dict[str, Delivery]:
        """The last attempt for each recipient so far."""
        found = _LOGGED.finditer(self.log())
        return {m["to"]: Delivery(m["status"], m["relay"], m["dsn"], m["text"]) for m in found}

    def wait_for_count(self, text: str, count: int) -> None:
        """Until the log has it so many times."""
        ends = clock.monotonic() + DELIVERY_SECONDS
        while self.log().count(text) < count:
            if clock.monotonic() > ends:
                raise LabFault(f"{self.log().count(text)} of {count} {text}\n{self.log()[-5000:]}")
            time.sleep(0.1)

    def wait_for(self, recipients: list[str], seconds: float = DELIVERY_SECONDS) -> dict[str, Delivery]:
        """Until each was tried."""
        ends = clock.monotonic() + seconds
        while set(recipients) - set(seen := self.deliveries()):
            missing = sorted(set(recipients) - set(seen))
            if clock.monotonic() > ends:
                raise LabFault(f"not tried: {missing}\n{self.log()[-5000:]}")
            time.sleep(0.1)
        return seen
