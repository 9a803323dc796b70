"""TXT answers of our nameserver beside a plain dnspython responder and NSD: queries a second, processor time a query.

Then a change of one domain, and a flood from one address beside somebody who asks calmly.

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NAMES = 100_000
DOMAINS = 100_000
IN_FLIGHT = 64
APEX = "sts.example"
FLOODER, CALM = "127.0.0.66", "127.0.0.67"
TICKS = os.sysconf("SC_CLK_TCK")


def owner(number: int) -> str:
    return f"_mta-sts.token{number:015}.{APEX}"


def text(number: int) -> str:
    return f"v=STSv1; id=20261129{number:06};"


def serve_ours(per_topic: int = 1_000_000, per_address: int = 10_000_000) -> None:
    """With limits of rate that are counted and not reached."""
    import asyncio

    import uvloop

    from mailward.core.dns.ratelimit import RateLimiter
    from mailward.core.dns.wire import Type
    from mailward.core.dns.zone import Authority, Record, Soa, make_zone
    from mailward.hosting.authdns import Nameserver, TransferAccess

    async def main() -> None:
        server = Nameserver(RateLimiter(per_topic=per_topic, per_address=per_address), TransferAccess({}))
        records = [Record(owner(number), Type.TXT, text(number)) for number in range(NAMES)]
        server.authority = Authority([make_zone(APEX, Soa(f"ns1.{APEX}", f"h@{APEX}", 1), records)])
        print(await server.listen(["127.0.0.1"], 0), flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_limited() -> None:
    """As the settings have it."""
    from mailward.config import Nameserver

    own = Nameserver()
    serve_ours(own.replies_per_second, own.replies_per_second_an_address)


def flood(port: int, seconds: float) -> None:
    """As many questions as one process can send, with ever new names, from one address; the answers are counted."""
    import dns.message

    ending = dns.message.make_query(f"x.{APEX}", "TXT", use_edns=0).to_wire()[14:]
    head = bytes.fromhex("000100000001000000000001")
    sent = received = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((FLOODER, 0))
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(500):
                label = b"%08d" % sent
                with suppress(OSError):
                    sent += client.send(head + b"\x08" + label + ending) > 0
                try:
                    received += len(client.recv(4096)) > 0
                except OSError:
                    continue
    print(sent, received, flush=True)


def ask_calmly(port: int, seconds: float, queries: list[bytes]) -> tuple[float, float]:
    """One question each 5 ms; the share that is answered within a second, and the median wait in milliseconds."""
    waits, asked = [], 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((CALM, 0))
        client.connect(("127.0.0.1", port))
        client.settimeout(1)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            query = asked.to_bytes(2, "big") + queries[asked % len(queries)][2:]
            client.send(query)
            asked += 1
            try:
                while client.recv(4096)[:2] != query[:2]:
                    pass
                waits.append(time.monotonic() - began)
            except OSError:
                continue
            time.sleep(0.005)
    return len(waits) / asked, statistics.median(waits) * 1000 if waits else float("inf")


def measure_flood(seconds: float, queries: list[bytes]) -> None:
    with python_server("limited") as server:
        wait_until_ready(server, queries[0])
        alone = ask_calmly(server.port, seconds, queries)
        command = [
            # both share a processor: who is measured must not wait for who floods
            "nice",
            "-n",
            "19",
            sys.executable,
            "-m",
            "bench.nameserver",
            "--flood",
            str(server.port),
            "--seconds",
            str(seconds + 1),
        ]
        flooder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        before = processor_seconds(server.pid)
        beside = ask_calmly(server.port, seconds, queries)
        spent = processor_seconds(server.pid) - before
        sent, received = map(int, flooder.communicate()[0].split())
    print(
        f"flood from one address: {sent / (seconds + 1):,.0f} questions/s, {received / max(sent, 1):.1%} answered"
    )
    print(f"the server's processor meanwhile: {spent / seconds:.0%}")
    for name, (share, wait) in (("alone", alone), ("beside it", beside)):
        print(f"somebody else, {name}: {share:.2%} answered, median {wait:.2f} ms")


def measure_changes() -> None:
    """In this process: a change of one domain, the names of one more, in a zone of NAMES others."""
    from mailward.core.dns.wire import Type
    from mailward.core.dns.zone import Record, Soa, make_zone, prepare

    soa = Soa(f"ns1.{APEX}", f"h@{APEX}", 1)
    zone = make_zone(APEX, soa, (Record(owner(number), Type.TXT, text(number)) for number in range(NAMES)))
    began = time.process_time()
    for number in range(1_000):
        zone.put(prepare(zone.apex, [Record(owner(number), Type.TXT, text(number + 1))]))
        zone.set_soa(Soa(soa.primary, soa.contact, number + 2))
    took = (time.process_time() - began) / 1_000
    print(f"one change among {NAMES:,}: {took * 1e6:.0f} us of processor time")


def measure_platform() -> None:
    """As `mailward serve` runs it: the start from what was saved, memory, and a change of one of DOMAINS domains."""
    import django
    import msgspec

    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "mailward.web.settings", "MAILWARD_DATA": folder}
        django.setup()
        from mailward.config import Nameserver, Settings
        from mailward.hosting import nameserver
        from mailward.hosting.delegated import change_zone
        from mailward.store.queries.hosting import Delegation, HostingState
        from mailward.store.tokens import make_address_token, make_delegation_token

        path = Path(folder) / "zone.json"
        domains = {
            number: Delegation(
                make_delegation_token(),
                make_address_token(),
                f"20261130{number:08}",
                None,
                f"d{number}.example",
            )
            for number in range(DOMAINS)
        }
        path.write_bytes(msgspec.json.encode({"state": HostingState(1, 1, 1), "domains": domains}))
        del domains
        own = Nameserver(zone=APEX, policy_addresses=("192.0.2.1", "2001:db8::1"))
        settings = Settings(data=folder, nameserver=own)
        before, began = memory_mib(os.getpid()), time.process_time()
        keeper = nameserver.ZoneKeeper(path, settings, *nameserver.make_nameserver(settings))
        took = time.process_time() - began
        print(
            f"{DOMAINS:,} domains: start {took:.2f} s of processor time, {memory_mib(os.getpid()):.0f} MiB in all",
            end="",
        )
        print(f" ({before:.0f} before)")
        some = list(keeper._domains.values())[:1_000]
        began = time.process_time()
        change_zone(keeper._zone, keeper._maker, ((each, each._replace(policy_id="x")) for each in some))
        print(f"a change of one: {(time.process_time() - began) * 1e3:.0f} us of processor time")
        keeper.close()


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


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
    parser.add_argument("--platform", action="store_true")
    parser.add_argument("--flood", type=int, help="the port to flood")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    if options.serve:
        {"ours": serve_ours, "dnspython": serve_dnspython, "limited": serve_limited}[options.serve]()
    if options.platform:
        measure_platform()
        return
    if options.flood:
        flood(options.flood, options.seconds)
        return
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
        for server in (ours, plain):
            print(f"{server.name}: {memory_mib(server.pid):.0f} MiB with {NAMES:,} names")
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
    measure_changes()
    subprocess.run([sys.executable, "-m", "bench.nameserver", "--platform"], check=True)
    measure_flood(options.seconds, queries)
    print(f"ours / nsd: {median['ours'][1] / median['nsd'][1]:.1f} times the processor time")


if __name__ == "__main__":
    main()
