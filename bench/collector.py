"""The collector of TLS signals beside tlsrpt-collectd 0.6.0: how much it takes, and what each loses.

    bench/run collector [--rounds N] [--only absorb|loss] [--queue LENGTH]

In a network namespace, since the length of the kernel's queue is one of each. Datagrams and their sender come from
`tlsrpt_datagrams.py` in the shared folder (MAILWARD_SHARED). docs/benchmarks/collector.md explains.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.sender_lab import CLIENT_CORE, SERVER_CORE, enter_namespace, pinned

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench/out/collector"
SHARED = Path(os.environ.get("MAILWARD_SHARED", ROOT.parent / "shared"))
DATAGRAMS = SHARED / "bench/tlsrpt_datagrams.py"
SENDER = ROOT / "bench/signal_sender.py"
PEER = ROOT / ".venv-bench-collector/bin/tlsrpt-collectd"
COUNT, DOMAINS = 100_000, 10_000
LOSS_SECONDS = 2
RATES = (10_000, 40_000)
SETTLE_SECONDS = 30
HAND_OVER = 'exec 3<&{}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
Counted = tuple[int, int]
"""All sessions, and those that failed."""


@dataclass
class Server:
    name: str
    command: list[str]
    socket: Path
    database: Path
    query: str
    ready: str = ""
    """In its log."""
    is_plain: bool = False
    """The socket is handed over, so that its queue is as long as the kernel says."""
    child: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        for path in (self.socket, *self.database.parent.glob(f"{self.database.name}*")):
            path.unlink(missing_ok=True)
        command = pinned(SERVER_CORE, self.command)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((FOLDER / f"{self.name}.log").open("wb"))
            if self.is_plain:
                source = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                source.bind(str(self.socket))
                command = ["bash", "-c", HAND_OVER.format(source.fileno()), "bash", *command]
                fds = [source.fileno()]
            else:
                fds = []
            self.child = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=fds)
        wait_until(self.socket.exists)
        wait_until(lambda: self.ready in (FOLDER / f"{self.name}.log").read_text())
        time.sleep(1.5)

    def stop(self) -> None:
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(30)
            self.child = None

    def counted(self) -> Counted:
        try:
            with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
                [(everything, failed)] = connection.execute(self.query).fetchall()
        except sqlite3.OperationalError:  # ours is made with the first commit
            return 0, 0
        return everything, failed

    @property
    def cpu_seconds(self) -> float:
        """Of the process and its children."""
        assert self.child is not None
        pids = [self.child.pid]
        for pid in pids:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return sum(map(_cpu_of, pids))

    @property
    def memory_mib(self) -> float:
        """The highest of the process that counts, with what it shares with others."""
        assert self.child is not None
        pids = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        named = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in pids}
        status = Path(f"/proc/{named.get('mw-collector', self.child.pid)}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(*, is_plain: bool = True) -> Server:
    """All of `mailward sender run`, metrics and policy server too; a commit is on the disk (synchronous = FULL)."""
    config, place, database = FOLDER / "ours.toml", FOLDER / "ours.sock", FOLDER / "ours.sqlite3"
    config.write_text(f"""
data = "{FOLDER}"
[sender]
dane = false
queue_command = []
[tlsrpt]
socket = "{place}"
counts = "{database}"
""")
    command = [sys.executable, "-m", "mailward", "sender", "run", "--config", str(config)]
    query = "SELECT coalesce(sum(successes + failures), 0), coalesce(sum(failures), 0) FROM session"
    name = "mailward" if is_plain else "mailward, own queue"
    return Server(name, command, place, database, query, " collector-started ", is_plain)


def peer() -> Server:
    """With its own defaults: a commit each 1,000 datagrams."""
    place, database = FOLDER / "peer.sock", FOLDER / "peer.sqlite"
    options = ["--storage", f"sqlite://{database}", "--socketname", str(place), "--socketmode", "0666"]
    options += ["--pidfilename", "", "--logfilename", str(FOLDER / "peer-own.log"), "--log_level", "warning"]
    options += ["--socketuser", "", "--socketgroup", ""]
    options += ["--dump_path_for_invalid_datagram", str(FOLDER / "peer-invalid")]
    query = "SELECT coalesce(sum(cntrtotal), 0), coalesce(sum(cntrfailure), 0) FROM finalresults"
    return Server("tlsrpt-collectd", [str(PEER), *options], place, database, query)


def has_counted(server: Server, truth: Counted) -> bool:
    return server.counted() == truth


def wait_until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > ends:
            sys.exit(f"bench collector: it takes too long; see the logs in {FOLDER}")
        time.sleep(0.02)


def make(count: int) -> Path:
    path = FOLDER / f"datagrams-{count}.jsonl"
    if not path.exists():
        command = [sys.executable, str(DATAGRAMS), "make", str(path), str(count), "--domains", str(DOMAINS)]
        subprocess.run(command, check=True)
    return path


def send(server: Server, file: Path) -> dict[str, float]:
    """Waits where the queue is full."""
    command = [sys.executable, str(DATAGRAMS), "send", str(server.socket), str(file)]
    done = subprocess.run(pinned(CLIENT_CORE, command), check=True, capture_output=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def send_at(server: Server, file: Path, rate: int) -> dict[str, float]:
    command = [sys.executable, str(SENDER), str(server.socket), str(file), str(rate)]
    done = subprocess.run(pinned(CLIENT_CORE, command), check=True, capture_output=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def expected(file: Path) -> Counted:
    policies = [json.loads(line)["policies"][0] for line in file.open()]
    return len(policies), sum(policy["f"] for policy in policies)


def absorb(servers: list[Server], rounds: int) -> None:
    file = make(COUNT)
    truth = expected(file)
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    print(f"\n{COUNT} datagrams about {DOMAINS} domains, the sender waits: {truth[1]} failed sessions")
    for _ in range(rounds):
        for server in servers:
            server.start()
            before = server.cpu_seconds
            sent = send(server, file)
            if server.name == "mailward":
                wait_until(partial(has_counted, server, truth))
            cpu, memory = server.cpu_seconds - before, server.memory_mib
            server.stop()  # the peer commits what is left when it ends
            counted = server.counted()
            rates[server.name].append(sent["per_s"])
            print(
                f"  {server.name:16} {sent['per_s']:>10,.0f}/s, cpu {cpu:.2f} s, {memory:.0f} MiB,"
                f" counted {counted[0]}, failed {counted[1]}{'' if counted == truth else '  WRONG'}",
                flush=True,
            )
    ratios = [mine / its for mine, its in zip(*rates.values(), strict=True)]
    print(f"  ours takes {statistics.median(ratios):.1f} times as many ({min(ratios):.1f}-{max(ratios):.1f})")


def loss(servers: list[Server], rounds: int, lengths: list[int]) -> None:
    for length in lengths:
        Path("/proc/sys/net/unix/max_dgram_qlen").write_text(str(length))
        for rate in RATES:
            file = make(rate * LOSS_SECONDS)
            lost: dict[str, list[float]] = {server.name: [] for server in servers}
            for _ in range(rounds):
                for server in servers:
                    server.start()
                    sent = send_at(server, file, rate)
                    time.sleep(1)
                    server.stop()
                    share = sent["lost"] / (sent["sent"] + sent["lost"])
                    lost[server.name].append(share)
                    if server.counted()[0] != sent["sent"]:
                        print(f"  {server.name}: {sent['sent']} taken, {server.counted()[0]} counted: WRONG")
            print(f"\nqueue {length}, {rate:,}/s, the sender does not wait: lost")
            for name, shares in lost.items():
                shown = ", ".join(f"{100 * share:.2f} %" for share in shares)
                print(f"  {name:16} median {100 * statistics.median(shares):.2f} % ({shown})", flush=True)
            *mine, its = (statistics.median(shares) for shares in lost.values())
            if its:
                shown = " and ".join(f"{share / its:.4f}" for share in mine)
                print(f"  ours loses {shown} of what the peer does")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", choices=("absorb", "loss"))
    arguments.add_argument("--queue", type=int, action="append", default=[])
    options = arguments.parse_args()
    for tool in ("unshare", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"bench collector: {tool} is missing")
    if not PEER.exists():
        sys.exit("bench collector: the peer is missing; `make .venv-bench-collector/.ready` installs it")
    if not DATAGRAMS.exists():
        sys.exit(f"bench collector: {DATAGRAMS} is not there (MAILWARD_SHARED names its folder)")
    enter_namespace(FOLDER, "bench.collector")
    servers = [ours(), ours(is_plain=False), peer()]
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    try:
        if options.only != "loss":
            absorb([servers[0], servers[2]], options.rounds)
        if options.only != "absorb":
            loss(servers, options.rounds, options.queue or [10, 512])
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
