"""The policy host beside uvicorn with the same body: rates, memory, reload, stalled attackers.

Server on CPU 0, client on CPU 1, 127.0.0.1, rounds interleaved. docs/benchmarks/policy-host.md explains.
"""

import asyncio
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

DOMAINS = 10_000
ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 32
ATTACKERS = 1_500
POLICY = (
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmx: *.example.test\r\nmax_age: 604800\r\n"
)
TICKS = os.sysconf("SC_CLK_TCK")


def host(number: int) -> str:
    return f"mta-sts.d{number}.test"


# The servers


def set_up_django(folder: Path) -> None:
    os.environ |= {"MAILWARD_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
    import django

    django.setup()


def serve_ours(folder: Path) -> None:
    set_up_django(folder)
    from mailward.config import Settings
    from mailward.hosting.policyweb import serve_policies
    from mailward.hosting.snapshot import SnapshotKeeper

    async def main() -> None:
        settings = Settings(data=str(folder))
        server = await serve_policies(settings, SnapshotKeeper(folder / "snapshot.json"), port=0)
        print(server.port, flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_uvicorn(folder: Path) -> None:
    import uvicorn

    body = POLICY.encode()
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=60")]
    headers.append((b"content-length", str(len(body)).encode()))

    async def application(
        _scope: dict[str, Any], _receive: object, send: Callable[..., Coroutine[Any, Any, None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        application,
        port=0,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        ssl_certfile=folder / "leaf.pem",
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await serving

    uvloop.run(main())


@dataclass
class Process:
    child: "subprocess.Popen[str]"
    port: int

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def start(name: str, folder: Path) -> Process:
    command = ["taskset", "-c", "0", sys.executable, __file__, "--serve", name, str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return Process(child, int(child.stdout.readline()))


# The client


class Client:
    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=folder / "ca" / "ca.pem")

    async def connect(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context, server_hostname=name)

    async def get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        writer.write(f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = await reader.readuntil(b"max_age: 604800\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    async def fetch(self, name: str) -> None:
        """As a sender does: a handshake, one request, no more."""
        reader, writer = await self.connect(name)
        await self.get(reader, writer, name)
        writer.close()


async def keep_alive(client: Client, until: float) -> int:
    reader, writer = await client.connect(host(0))
    count = 0
    while time.monotonic() < until:
        if count % 900 == 899:  # a server may end a connection after a thousand
            writer.close()
            reader, writer = await client.connect(host(0))
        await client.get(reader, writer, host(0))
        count += 1
    writer.close()
    return count


async def handshakes(client: Client, until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await client.fetch(host(0))
        count += 1
    return count


def load(
    process: Process, folder: Path, worker: Callable[[Client, float], Coroutine[Any, Any, int]]
) -> tuple[float, float]:
    """Answers a second, and server CPU microseconds an answer."""

    async def main() -> int:
        client, until = Client(folder, process.port), time.monotonic() + SECONDS
        return sum(await asyncio.gather(*(worker(client, until) for _ in range(CONNECTIONS))))

    cpu, started = process.cpu_seconds, time.monotonic()
    count = uvloop.run(main())
    return count / (time.monotonic() - started), (process.cpu_seconds - cpu) / count * 1e6


def every_name_once(process: Process, folder: Path) -> float:
    async def some(client: Client, numbers: range) -> None:
        for number in numbers:
            await client.fetch(host(number))

    async def main() -> None:
        client = Client(folder, process.port)
        await asyncio.gather(*(some(client, range(n, DOMAINS, CONNECTIONS)) for n in range(CONNECTIONS)))

    started = time.monotonic()
    uvloop.run(main())
    return DOMAINS / (time.monotonic() - started)


async def fetch_times(client: Client) -> list[float]:
    """Milliseconds of 200 fetches, one after another, in rising order."""
    times = []
    for _ in range(200):
        started = time.monotonic()
        await client.fetch(host(1))
        times.append((time.monotonic() - started) * 1000)
    return sorted(times)


async def calm(process: Process, folder: Path) -> list[float]:
    return await fetch_times(Client(folder, process.port))


async def under_attack(process: Process, folder: Path) -> list[float]:
    """While attackers hold half a handshake or half a header each."""
    client, held = Client(folder, process.port), []
    for number in range(ATTACKERS):
        if number % 2:
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(b"\x16\x03\x01\x02")
        else:
            _, writer = await client.connect(host(0))
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
        held.append(writer)
    times = await fetch_times(client)
    for writer in held:
        writer.transport.abort()
    return times


# Reload from the database


def reload_milliseconds(folder: Path) -> tuple[float, float]:
    """Loading 10,000 policies from SQLite, and asking whether there is anything new."""
    from django.core.management import call_command

    from mailward.hosting.snapshot import make_snapshot, save_snapshot
    from mailward.store.models import Domain, Organisation, PolicyVersion
    from mailward.store.queries.hosting import hosted_policies, hosting_generation

    call_command("migrate", verbosity=0)
    organisation = Organisation.objects.create(name="Bench", report_token="bench")
    domains = Domain.objects.bulk_create(
        Domain(organisation=organisation, name=f"d{n}.test", report_token=f"r{n}", claim_token="c")
        for n in range(DOMAINS)
    )
    versions = PolicyVersion.objects.bulk_create(
        PolicyVersion(
            organisation=organisation, domain=domain, number=1, policy_id="1", mode="enforce",
            max_age_seconds=604800, text=POLICY,
        )
        for domain in domains
    )  # fmt: skip
    for domain, version in zip(domains, versions, strict=True):
        domain.current_version = version
    Domain.objects.bulk_update(domains, ["current_version"], batch_size=1000)

    def timed(work: Callable[[], object]) -> float:
        times = []
        for _ in range(ROUNDS):
            started = time.monotonic()
            work()
            times.append((time.monotonic() - started) * 1000)
        return statistics.median(times)

    def reload() -> None:
        save_snapshot(make_snapshot(hosted_policies()), folder / "reloaded.json")

    return timed(reload), timed(hosting_generation)


def show(name: str, values: list[tuple[float, float]]) -> None:
    rates, costs = zip(*values, strict=True)
    print(
        f"| {name} | {statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f}) "
        f"| {statistics.median(costs):,.0f} |"
    )


def main() -> None:
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        set_up_django(folder)
        measure(folder)
        reload, poll = reload_milliseconds(folder)
        print(f"\nReload of {DOMAINS:,} domains: {reload:.0f} ms; asking for news: {poll:.2f} ms")


def measure(folder: Path) -> None:
    from mailward.hosting.snapshot import Snapshot, save_snapshot
    from mailward.net import clock
    from mailward.net.authority import load_authority

    save_snapshot(Snapshot(1, {host(n): POLICY.encode() for n in range(DOMAINS)}), folder / "snapshot.json")
    (folder / "leaf.pem").write_bytes(load_authority(folder / "ca").issue(host(0), clock.now()))
    servers = {name: start(name, folder) for name in ("mailward", "uvicorn")}
    ours = servers["mailward"]
    try:
        for title, worker in (("kept-alive requests", keep_alive), ("handshake + request", handshakes)):
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
            for _ in range(ROUNDS):
                for name, process in servers.items():
                    results[name].append(load(process, folder, worker))
            print(f"| {title} | a second, median (min-max) | server CPU µs each |\n|---|---|---|")
            for name, values in results.items():
                show(name, values)
            print()
        before = ours.resident_mib
        rate = every_name_once(ours, folder)
        print(f"{DOMAINS:,} names once each, certificates issued on the way: {rate:,.0f}/s; ", end="")
        print(f"memory {before:.0f} -> {ours.resident_mib:.0f} MiB")
        quiet, loud = uvloop.run(calm(ours, folder)), uvloop.run(under_attack(ours, folder))
        print(
            f"One fetch: {statistics.median(quiet):.1f} ms; with {ATTACKERS:,} stalled connections "
            f"{statistics.median(loud):.1f} ms (p99 {loud[197]:.1f} ms)"
        )
    finally:
        for process in servers.values():
            process.child.terminate()
            process.child.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        {"mailward": serve_ours, "uvicorn": serve_uvicorn}[sys.argv[2]](Path(sys.argv[3]))
    else:
        main()
