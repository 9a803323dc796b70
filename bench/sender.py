"""`mailward sender` beside postfix-mta-sts-resolver and any socketmap daemon: warm, cold, a burst, 100,000 domains.

    bench/run sender [--rounds N] [--peer 'NAME MAP ADDRESS [COMMAND ...]']

A peer's COMMAND is started inside the laboratory (loopback, resolver on port 53, SSL_CERT_FILE names its CA); without
one, ADDRESS is a unix socket of a daemon that is there. docs/benchmarks/sender.md explains.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.sender_lab import CLIENT_CORE, POLICY, SERVER_CORE, Lab, enter_namespace, pinned

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench/out/sender"
LOAD = FOLDER / "socketmap_load"
PEER_PYTHON = ROOT / ".venv-bench-sender/bin"
DOMAINS, WARM_DOMAINS, MANY = 2_000, 1_000, 100_000
CONNECTIONS = (1, 8, 64)
WARM_SECONDS = 0.7
Result = dict[str, float]
running: "list[Server]" = []


@dataclass
class Server:
    name: str
    map_name: str
    address: str
    command: list[str]
    files: list[Path] = field(default_factory=list)
    """What it keeps; removed before a cold start."""
    child: "subprocess.Popen[bytes] | None" = None

    def start(self, *, cold: bool = True) -> float:
        """Seconds until it takes connections."""
        if cold:
            for path in self.files:
                path.unlink(missing_ok=True)
        begun = time.monotonic()
        if self.command:
            if listens(self.address):
                sys.exit(f"{self.name}: something else listens at {self.address}, and would be measured")
            running.append(self)
            with (FOLDER / f"{self.name}.log").open("ab") as log:
                environment = os.environ | {"SSL_CERT_FILE": str(FOLDER / "ca.pem")}
                command = pinned(SERVER_CORE, self.command)
                self.child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        while not listens(self.address):
            if time.monotonic() - begun > 20:
                sys.exit(f"{self.name} does not listen at {self.address}; see {FOLDER}/{self.name}.log")
            time.sleep(0.002)
        return time.monotonic() - begun

    def stop(self) -> None:
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)
            self.child.wait(20)
            self.child = None

    def load(self, keys: Path, connections: int, questions: int = 0, seconds: float = 60) -> Result:
        words = [self.address, self.map_name, str(keys), str(connections), str(questions), str(seconds)]
        command = pinned(CLIENT_CORE, [str(LOAD), *words])
        before = self.cpu_seconds if self.child else 0.0
        found: Result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        if self.child:
            found["cpu"] = (self.cpu_seconds - before) / max(found["ok"] + found["not_found"], 1) * 1e6
        if found["other"] or found["lost"]:
            print(f"  {self.name}: {found['other']} other replies, {found['lost']} lost", file=sys.stderr)
        return found

    @property
    def memory_mib(self) -> float:
        assert self.child is not None
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu_seconds(self) -> float:
        assert self.child is not None
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET if host else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((host, int(port)) if host else address) == 0


def ours(port: int = 8461, *, dane: bool = False) -> Server:
    """Durable, with metrics, an overrides file and one log line for each changed decision."""
    cache = FOLDER / "ours.sqlite3"
    overrides = FOLDER / "overrides.toml"
    entry = (
        '[[override]]\ndomain = "*.partner.test"\naction = "require"\nreason = "bench"\nuntil = 2099-01-01\n'
    )
    overrides.write_text(entry)
    config = FOLDER / "ours.toml"
    config.write_text(f"""
data = "{FOLDER}"
[dns]
resolvers = ["127.0.0.1{":5353" if dane else ""}"]
allow_private_addresses = true
[sender]
listen = ["127.0.0.1:{port}"]
metrics_listen = "127.0.0.1:{port + 100}"
cache = "{cache}"
overrides = "{overrides}"
default_level = "may"
dane = {str(dane).lower()}
dnssec_secure_name = "tlsa.test"
dnssec_bogus_name = "bogus.test"
ca_file = "{FOLDER}/ca.pem"
""")
    command = [sys.executable, "-m", "mailward", "sender", "run", "--config", str(config)]
    return Server("mailward", "QUERY", f"127.0.0.1:{port}", command, database(cache))


def resolver(kind: str, port: int) -> Server:
    """postfix-mta-sts-resolver 1.5.1; it logs warnings alone, and asks DNS again after an hour instead of a minute."""
    cache = FOLDER / "peer.sqlite3"
    options = f'filename: "{cache}"' if kind == "sqlite" else "cache_size: 10000"
    config = FOLDER / f"resolver-{kind}.yml"
    config.write_text(f"""
host: 127.0.0.1
port: {port}
cache_grace: 3600
proactive_policy_fetching: {{ enabled: false }}
cache: {{ type: {kind}, options: {{ {options} }} }}
default_zone: {{ strict_testing: false, timeout: 4 }}
""")
    command = [str(PEER_PYTHON / "mta-sts-daemon"), "-c", str(config), "-v", "warn"]
    return Server(f"resolver-{kind}", "postfix", f"127.0.0.1:{port}", command, database(cache))


def database(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def given(text: str) -> Server:
    name, map_name, address, *command = text.split()
    # a cache that it keeps belongs there: removed before a cold start
    return Server(name, map_name, address.removeprefix("unix:"), command, [FOLDER / f"{name}.cache"])


def median(values: Iterable[float]) -> str:
    taken = list(values)
    return f"{statistics.median(taken):,.2f} ({min(taken):,.2f}-{max(taken):,.2f})"


def compare(title: str, results: dict[str, list[Result]]) -> None:
    """Ratios are taken round by round: what else the machine does in that minute is the same for both."""
    print(f"\n{title}")
    for name, rounds in results.items():
        facts = {
            key: statistics.median(found.get(key, 0) for found in rounds)
            for key in ("per_second", "p50", "p99", "cpu")
        }
        line = f"  {name:18} {facts['per_second']:>10,.0f}/s  p50 {facts['p50']:>9,.0f}  p99 {facts['p99']:>9,.0f} us"
        line += f"  CPU {facts['cpu']:>6,.1f} us each"
        if name != "mailward":
            both = list(zip(results["mailward"], rounds, strict=True))
            for what, ratios in {
                "ours is": [mine["per_second"] / peer["per_second"] for mine, peer in both],
                "p99": [mine["p99"] / peer["p99"] for mine, peer in both],
                "CPU": [mine["cpu"] / peer["cpu"] for mine, peer in both if peer.get("cpu")],
            }.items():
                line += f"  {what} {median(ratios)}" if ratios else ""
        print(line, flush=True)


def warm(lab: Lab, servers: list[Server], rounds: int) -> None:
    keys = {"a policy": lab.keys("d", WARM_DOMAINS), "no policy": lab.keys("n", WARM_DOMAINS)}
    for server in servers:
        server.start()
        for path in keys.values():
            server.load(path, 16)
    for kind, path in keys.items():
        for connections in CONNECTIONS:
            results: dict[str, list[Result]] = {server.name: [] for server in servers}
            for _ in range(rounds):
                for server in servers:
                    results[server.name].append(server.load(path, connections, 400_000, WARM_SECONDS))
            compare(f"warm, {kind}, {connections} connections", results)
    for server in servers:
        server.stop()


def cold(lab: Lab, servers: list[Server], rounds: int) -> None:
    keys = lab.keys("d")
    results: dict[str, list[Result]] = {server.name: [] for server in servers if server.command}
    for _ in range(rounds):
        for server in servers:
            if server.command:
                server.start()
                results[server.name].append(server.load(keys, 64))
                server.stop()
    compare(f"cold, {DOMAINS} domains once, 64 connections", results)


def cold_dane(lab: Lab, rounds: int) -> None:
    """Beside it: DANE on, through a validating resolver whose cache is empty too; DANE off, through the same."""
    for zone, what in (
        ("tlsa.test", "signed, with TLSA"),
        ("signed.test", "signed, without TLSA"),
        ("bench.test", "not signed"),
    ):
        keys = lab.keys("d", zone=zone)
        results = []
        for _ in range(rounds):
            unbound = lab.start_unbound()
            server = ours(dane=True)
            server.start()
            results.append(server.load(keys, 64))
            server.stop()
            unbound.terminate()
            unbound.wait()
        compare(f"cold with DANE, {DOMAINS} domains once, 64 connections: {what}", {"mailward": results})


def burst(lab: Lab) -> None:
    server = ours()
    server.start()
    print("\n1,000 questions at once for one new domain, 5 domains")
    for number in range(5):
        keys = FOLDER / "hot.txt"
        domain = f"hot{number:05}.bench.test"
        keys.write_text(domain + "\n")
        found = server.load(keys, 1_000, 1_000)
        fetches = lab.requests().count(f"mta-sts.{domain}")
        print(
            f"  {fetches} fetches, {found['ok']:.0f} answers with the policy, longest {found['longest'] / 1000:.0f} ms"
        )
    server.stop()


async def fill(cache: Path, *, alike: bool) -> None:
    """With the same policy for all, or with one that no other domain has."""
    from mailward.core.mtasts.decide import Cached
    from mailward.core.mtasts.policy import parse_policy
    from mailward.core.names import Domain
    from mailward.sender.cache import Entry
    from mailward.sender.sqlite import SqliteCache

    now = int(time.time())  # noqa: TID251 - of the laboratory
    store = SqliteCache(cache, 2 * MANY)

    def entry(number: int) -> Entry:
        text = POLICY if alike else POLICY.replace("mx1.bench", f"mx{number:05}.host")
        cached = Cached(parse_policy(text.encode()), "1", now)
        return Entry(Domain(f"d{number:05}.bench.test"), cached, None, now + 80_000)

    for begin in range(0, MANY, 500):
        await asyncio.gather(*(store.put(entry(number)) for number in range(begin, begin + 500)))
    await store.close()


def many(lab: Lab) -> None:
    one, keys = lab.keys("d", 1), lab.keys("d", MANY)
    for what, alike in (("the same policy", True), ("a policy of its own", False)):
        server = ours()
        for path in server.files:
            path.unlink(missing_ok=True)
        asyncio.run(fill(server.files[0], alike=alike))
        print(f"\n{MANY} domains in the cache, each with {what}")
        for _ in range(3):
            begun = time.monotonic()
            server.start(cold=False)
            found = server.load(one, 1)
            seconds = time.monotonic() - begun
            print(f"  first answer {seconds:.2f} s after start ({found['ok']:.0f} with the policy)")
            server.stop()
        for map_name in ("QUERY", "QUERYwithTLSRPT"):
            server.map_name = map_name
            server.start(cold=False)
            for time_of in ("first", "second"):
                found = server.load(keys, 64)
                print(
                    f"  {map_name}, each domain once, {time_of} time: {found['per_second']:,.0f}/s,"
                    f" p99 {found['p99']:,.0f} us, longest {found['longest'] / 1000:.1f} ms,"
                    f" {found['ok']:.0f} OK; {server.memory_mib:.0f} MiB resident"
                )
            server.stop()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--peer", action="append", default=[])
    arguments.add_argument(
        "--only", action="append", default=[], choices=("warm", "cold", "dane", "burst", "many")
    )
    options = arguments.parse_args()
    for tool in ("cc", "nsd", "nginx", "unbound", "unshare", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"bench sender: {tool} is missing")
    if not (PEER_PYTHON / "mta-sts-daemon").exists():
        sys.exit("bench sender: the peer is missing; `make .venv-bench-sender/.ready` installs it")
    enter_namespace(FOLDER)
    subprocess.run(["cc", "-O2", "-o", LOAD, ROOT / "bench/socketmap_load.c"], check=True)
    lab = Lab(FOLDER, DOMAINS)
    lab.make()
    children = lab.start()
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    peers = [resolver("internal", 8471), resolver("sqlite", 8472), *map(given, options.peer)]
    steps = {
        "warm": lambda: warm(lab, [ours(), *peers], options.rounds),
        "cold": lambda: cold(lab, [ours(), *peers], max(options.rounds - 2, 1)),
        "dane": lambda: cold_dane(lab, max(options.rounds - 2, 1)),
        "burst": lambda: burst(lab),
        "many": lambda: many(lab),
    }
    try:
        for name in options.only or steps:
            steps[name]()
    finally:
        for server in running:
            server.stop()
        for child in children:
            child.terminate()
            child.wait()


if __name__ == "__main__":
    main()
