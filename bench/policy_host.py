"""The policy host beside nginx and uvicorn: processor time of a fetch, memory, many fetches, slow clients, reload.

Servers on CPU 0, clients on CPU 1, 127.0.0.1, rounds interleaved. docs/benchmarks/policy-host.md explains.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.policy_servers import POLICY, Process, host, set_up_django, start_nginx, start_python

NAMES = 10_000
HOSTED = 100_000
"""Policies in memory, most of them alike."""
THREADS = 16
SLOW = 5_000
SLOW_ADDRESSES = 50
SOURCE = Path(__file__).with_name("tls_fetch.c")


class Bench:
    def __init__(self, folder: Path, fetches: int, rounds: int) -> None:
        self.folder, self.fetches, self.rounds = folder, fetches, rounds
        self.client = folder / "tls_fetch"
        command = ["cc", "-O2", "-o", str(self.client), str(SOURCE), "-lssl", "-lcrypto", "-lpthread"]
        subprocess.run(command, check=True)

    def fetch(
        self, process: Process, names: int, fetches: int, threads: int = THREADS
    ) -> tuple[float, dict[str, float]]:
        """Server processor microseconds a fetch, and what the client says. All have to be good, and none resumed."""
        before = process.cpu_seconds
        command = ["taskset", "-c", "1", str(self.client), str(process.port), "mta-sts.d%d.test", str(names)]
        told = json.loads(subprocess.check_output([*command, str(threads), str(fetches)]))
        if told["good"] != fetches or told["resumed"]:
            raise SystemExit(f"not every fetch was good: {told}")
        return (process.cpu_seconds - before) / fetches * 1e6, told

    def compare(self, ours: Process, others: dict[str, Process]) -> None:
        servers = {"mailward, 10,000 names": (ours, NAMES), "mailward, one name": (ours, 1)}
        servers |= {name: (process, 1) for name, process in others.items()}
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(self.rounds):
            for name, (process, names) in servers.items():
                costs[name].append(self.fetch(process, names, self.fetches)[0])
        baseline = costs["nginx"]
        print(
            "| server | processor µs a fetch, median (min-max) | of nginx's, round by round, median |\n|---|---|---|"
        )
        for name, values in costs.items():
            ratio = statistics.median(value / other for value, other in zip(values, baseline, strict=True))
            print(
                f"| {name} | {statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f}) | {ratio:.2f} |"
            )


@contextmanager
def slow_clients(port: int) -> Iterator[None]:
    """Connections that hold half a handshake or half a request, from several addresses."""
    held: list[socket.socket] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for number in range(SLOW):
        source = (f"127.0.1.{number % SLOW_ADDRESSES + 1}", 0)
        connection = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=source)
        if number % 10:
            connection.sendall(b"\x16\x03\x01\x02")
        else:
            connection = context.wrap_socket(connection, server_hostname=host(0))
            connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        held.append(connection)
    try:
        yield
    finally:
        for connection in held:
            connection.close()


def wait_until_certificates_are_read(process: Process) -> None:
    """They are read in a thread: until it has ended the figures would hold its work."""
    deadline, before = time.monotonic() + 600, -1.0
    while process.cpu_seconds != before:
        before = process.cpu_seconds
        time.sleep(1)
        if time.monotonic() > deadline:
            raise SystemExit("the server does not come to rest")


def prepare(folder: Path) -> None:
    from mailward.hosting.snapshot import Snapshot, save_snapshot
    from mailward.net import clock
    from mailward.net.authority import load_authority

    authority = load_authority(folder / "ca")
    (folder / "certs").mkdir()
    for number in range(NAMES):
        pem = authority.issue(host(number), clock.now())
        (folder / "certs" / f"{host(number)}.pem").write_bytes(pem)
    (folder / "leaf.pem").write_bytes(authority.issue(host(0), clock.now()))
    save_snapshot(Snapshot(1, {host(n): POLICY.encode() for n in range(NAMES)}), folder / "snapshot.json")


def measure(bench: Bench) -> None:
    folder = bench.folder
    ours = start_python("mailward", folder)
    others = {"nginx": start_nginx(folder, port=8541), "uvicorn": start_python("uvicorn", folder)}
    try:
        wait_until_certificates_are_read(ours)
        before = ours.resident_mib
        cold, _ = bench.fetch(ours, NAMES, NAMES)
        bench.compare(ours, others)
        print(f"\n{NAMES:,} names once each, their contexts made on the way: {cold:,.0f} µs a fetch")
        print(f"Memory: {before:.0f} MiB, with {NAMES:,} contexts {ours.resident_mib:.0f} MiB")
        _, told = bench.fetch(ours, NAMES, 10_000, threads=64)
        print(f"10,000 fetches from one address, 64 at a time: none refused, {told['seconds']:.0f} s")
        alone, calm = bench.fetch(ours, 1, bench.fetches)
        with slow_clients(ours.port):
            among, flooded = bench.fetch(ours, 1, bench.fetches)
            print(f"Memory with {SLOW:,} slow connections more: {ours.resident_mib:.0f} MiB")
        print(
            f"A fetch among {SLOW:,} slow connections: {among:,.0f} µs (without {alone:,.0f}), none refused; "
            f"p50 {flooded['p50_us'] / 1000:.0f} ms, p99 {flooded['p99_us'] / 1000:.0f} ms "
            f"(without {calm['p50_us'] / 1000:.0f} and {calm['p99_us'] / 1000:.0f})"
        )
    finally:
        for process in (ours, *others.values()):
            process.stop()


# Reload from the database


def fill_database() -> None:
    from django.core.management import call_command

    from mailward.store.models import Domain, Organisation, PolicyVersion
    from mailward.store.services.hosting import bump_generation

    call_command("migrate", verbosity=0)
    organisation = Organisation.objects.create(name="Bench", report_token="bench")
    domains = Domain.objects.bulk_create(
        (
            Domain(organisation=organisation, name=f"d{n}.test", report_token=f"r{n}", claim_token="c")
            for n in range(HOSTED)
        ),
        batch_size=5_000,
    )
    versions = PolicyVersion.objects.bulk_create(
        (
            PolicyVersion(
                organisation=organisation, domain=domain, number=1, policy_id="1", mode="enforce",
                max_age_seconds=604800, text=POLICY.replace("mx1", f"mx{n % 100}"),
            )
            for n, domain in enumerate(domains)
        ),
        batch_size=5_000,
    )  # fmt: skip
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE store_domain SET current_version_id = (SELECT id FROM store_policyversion"
            " WHERE domain_id = store_domain.id)"
        )
    bump_generation()
    del domains, versions
    gc.collect()


class Stalls:
    """The longest time that the loop did not come round."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


async def reload(folder: Path) -> None:
    from mailward.hosting.policyweb import SWITCH_SECONDS
    from mailward.hosting.snapshot import SnapshotKeeper
    from mailward.store.aio import in_store
    from mailward.store.services.hosting import bump_generation

    sys.setswitchinterval(SWITCH_SECONDS)
    keeper = SnapshotKeeper(folder / "large.json")
    results: dict[str, tuple[float, float, float]] = {}

    async def timed(title: str, work: Callable[[], Any]) -> None:
        stalls = Stalls()
        watching = asyncio.create_task(stalls.watch())
        cpu, started = time.process_time(), time.monotonic()
        await work()
        results[title] = (time.process_time() - cpu, time.monotonic() - started, stalls.longest)
        watching.cancel()

    await timed("nothing to do, a second", lambda: asyncio.sleep(1))
    await timed("first load", keeper.refresh)
    first = next(iter(keeper._hosts))
    await in_store(bump_generation, first)
    await timed("a change of one domain", keeper.refresh)
    await in_store(bump_generation)
    await timed("a change of all", keeper.refresh)
    started = time.process_time()
    again = SnapshotKeeper(folder / "large.json")
    loaded = time.process_time() - started
    assert len(again.current.policies) == HOSTED
    print(f"\n| {HOSTED:,} policies | processor ms | ms | longest stall of the loop, ms |\n|---|---|---|---|")
    for title, (cpu, seconds, stall) in results.items():
        print(f"| {title} | {cpu * 1000:,.0f} | {seconds * 1000:,.0f} | {stall * 1000:.1f} |")
    size = (folder / "large.json").stat().st_size / 2**20
    print(f"\nSaved: {size:.1f} MiB, loaded at a start in {loaded * 1000:.0f} ms of processor time")
    again.close()
    keeper.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fetches", type=int, default=4_000, help="a round")
    parser.add_argument("--only", choices=("fetches", "reload"))
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is somebody else
        set_up_django(folder)
        if options.only != "reload":
            prepare(folder)
            measure(Bench(folder, options.fetches, options.rounds))
        if options.only != "fetches":
            # django's synchronous calls are refused on a loop: this thread has none
            filling = threading.Thread(target=fill_database)
            filling.start()
            filling.join()
            asyncio.run(reload(folder))
        shutil.rmtree(folder / "certs", ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
