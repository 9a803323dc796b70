"""TXT answers of our nameserver beside a plain dnspython responder and NSD: queries a second, processor time a query.

Server on CPU 0, client on CPU 1, 127.0.0.1, rounds interleaved; 64 questions under way. docs/benchmarks/nameserver.md
explains.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAMES = 10_000
IN_FLIGHT = 64
APEX = "sts.example"
TICKS = os.sysconf("SC_CLK_TCK")


def owner(number: int) -> str:
    return f"_mta-sts.token{number:015}.{APEX}"


def text(number: int) -> str:
    return f"v=STSv1; id=20261129{number:06};"


def serve_ours() -> None:
    """With limits of rate that are counted and not reached."""
    import asyncio

    import uvloop

    from mailward.core.dns.ratelimit import RateLimiter
    from mailward.core.dns.wire import Type
    from mailward.core.dns.zone import Authority, Record, Soa, make_zone
    from mailward.hosting.authdns import Nameserver, TransferAccess

    async def main() -> None:
        server = Nameserver(RateLimiter(per_topic=1_000_000, per_address=10_000_000), TransferAccess({}))
        records = [Record(owner(number), Type.TXT, text(number)) for number in range(NAMES)]
        server.authority = Authority([make_zone(APEX, Soa(f"ns1.{APEX}", f"h@{APEX}", 1), records)])
        print(await server.listen(["127.0.0.1"], 0), flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_dnspython() -> None:
    """As one writes it with the library alone: read, look up, respond with EDNS."""
    import dns.flags
    import dns.message
    import dns.name
    import dns.rdataclass
    import dns.rdatatype
    import dns.rrset

    found = {
        dns.name.from_text(owner(number)): dns.rrset.from_text(
            f"{owner(number)}.", 300, "IN", "TXT", f'"{text(number)}"'
        )
        for number in range(NAMES)
    }
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        wire, peer = listener.recvfrom(4096)
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, our_payload=1232)
        response.flags |= dns.flags.AA
        response.answer.append(found[query.question[0].name])
        listener.sendto(response.to_wire(max_size=1232), peer)


@dataclass(frozen=True)
class Server:
    name: str
    pid: int
    port: int


@contextmanager
def python_server(name: str) -> Iterator[Server]:
    command = ["taskset", "-c", "0", sys.executable, "-m", "bench.nameserver", "--serve", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(name, process.pid, int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nsd() -> Iterator[Server]:
    from mailward.lab.mta import find_tree

    original = find_tree("trixie")
    folder = Path(tempfile.mkdtemp(prefix="bench-nsd-", dir=original.parent))
    root = folder / "root"
    subprocess.run(["cp", "-al", original, root], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "bench").mkdir()
    lines = [f'{owner(number)}. 300 TXT "{text(number)}"\n' for number in range(NAMES)]
    head = f"$ORIGIN {APEX}.\n@ 300 SOA ns1 h 1 900 300 86400 60\n@ 300 NS ns1\nns1 300 A 192.0.2.1\n"
    (root / "bench/zone").write_text(head + "".join(lines))
    (root / "bench/nsd.conf").write_text(
        f'server:\n  ip-address: 127.0.0.1\n  port: {port}\n  username: ""\n  zonesdir: "/bench"\n  database: ""\n'
        f'  pidfile: "/bench/pid"\n  xfrdfile: "/bench/xfrd"\n  zonelistfile: "/bench/list"\n  logfile: "/bench/log"\n'
        f"  rrl-ratelimit: 1000000\n  server-count: 1\nremote-control:\n  control-enable: no\n"
        f'zone:\n  name: "{APEX}"\n  zonefile: "zone"\n'
    )
    command = ["taskset", "-c", "0", "chroot", str(root), "nsd", "-d", "-c", "/bench/nsd.conf"]
    process = subprocess.Popen(command)
    try:
        yield Server("nsd", process.pid, port)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def processor_seconds(pid: int) -> float:
    """Of the process and its children."""
    total = 0
    pids = [pid]
    while pids:
        each = pids.pop()
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
        pids += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return total / TICKS


def ask(server: Server, seconds: float, queries: list[bytes]) -> tuple[float, float]:
    """Queries answered a second, and microseconds of the server's processor time for each."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", server.port))
        client.settimeout(2)
        for query in queries[:IN_FLIGHT]:
            client.send(query)
        client.recv(4096)
        client.send(queries[0])
        count, at = 0, IN_FLIGHT
        before, start = processor_seconds(server.pid), time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(200):
                if client.recv(4096)[7] != 1:
                    raise SystemExit(f"{server.name} did not answer with one record")
                client.send(queries[at % len(queries)])
                at += 1
            count += 200
        took = time.perf_counter() - start
        return count / took, (processor_seconds(server.pid) - before) / count * 1e6


def wait_until_ready(server: Server, query: bytes) -> None:
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", server.port))
                client.send(query)
                client.recv(4096)
                return
            except OSError:
                time.sleep(0.1)
    raise SystemExit(f"{server.name} does not answer")


def main() -> None:
    import dns.message

    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    if options.serve:
        {"ours": serve_ours, "dnspython": serve_dnspython}[options.serve]()
    os.sched_setaffinity(0, {1})
    chosen = random.Random(1).sample(range(NAMES), 5_000)
    queries = [dns.message.make_query(owner(number), "TXT", use_edns=0).to_wire() for number in chosen]
    taken: dict[str, list[tuple[float, float]]] = {}
    with python_server("ours") as ours, python_server("dnspython") as plain, nsd() as native:
        for server in (ours, plain, native):
            wait_until_ready(server, queries[0])
        for _ in range(options.rounds):
            for server in (ours, plain, native):
                taken.setdefault(server.name, []).append(ask(server, options.seconds, queries))
    median = {
        name: tuple(statistics.median(row[at] for row in rows) for at in (0, 1))
        for name, rows in taken.items()
    }
    for name, (rate, cost) in median.items():
        print(f"{name:10} {rate:9,.0f} queries/s  {cost:7.1f} us of processor time a query")
    rates = sorted(one[0] / other[0] for one, other in zip(taken["ours"], taken["dnspython"], strict=True))
    costs = sorted(other[1] / one[1] for one, other in zip(taken["ours"], taken["dnspython"], strict=True))
    print(
        f"ours / dnspython: {statistics.median(rates):.1f} times the queries ({rates[0]:.1f}-{rates[-1]:.1f})"
    )
    print(
        f"dnspython / ours: {statistics.median(costs):.1f} times the processor time ({costs[0]:.1f}-{costs[-1]:.1f})"
    )
    print(f"ours / nsd: {median['ours'][1] / median['nsd'][1]:.1f} times the processor time")


if __name__ == "__main__":
    main()
