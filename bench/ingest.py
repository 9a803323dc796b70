"""Reports in: through the mail door into SQLite, and by the import command beside parsedmarc's parsing alone.

Everything is real: the doors are the product's process, the mails go through sockets, the signatures are
checked with keys from a DNS server, and the database is on disk. docs/benchmarks/ingest.md explains.

    bench/ingest.py [smtp] [import]
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tests' DNS server and signer

from tests.fakes.dns import FakeDns  # noqa: E402
from tests.fakes.signer import Signer  # noqa: E402

SHARED = Path(os.environ.get("MAILWARD_SHARED", HERE.parent / "../shared"))
PEER = HERE.parent / ".venv-bench/bin/python"
OUT = HERE / "out"
ROUNDS = 5
SMTP_MAILS = 2_000
IMPORT_MAILS = 20_000
CONNECTIONS = 32
ADDRESS = "org-bench@reports.localhost"
SENDERS = (
    "google.com",
    "microsoft.com",
    "mail.ru",
    "yahooinc.com",
    "comcast.net",
    "web.de",
    "example.org",
    "mueller.example",
)
_FROM = re.compile(rb"^From: [^@\r\n]+@([^\r\n]+)", re.MULTILINE)
_DKIM = re.compile(rb"^DKIM-Signature:.*?\r\n(?=\S)", re.MULTILINE | re.DOTALL)


# What is sent


def made_reports(number: int) -> list[bytes]:
    """The mails of ../shared/bench/make_reports.py; their DKIM signatures are random bytes."""
    folder = OUT / f"reports-{number}"
    if not (folder / "truth.json").exists():
        maker = [sys.executable, str(SHARED / "bench/make_reports.py"), str(folder), str(number)]
        subprocess.run([*maker, "--formats", "eml"], check=True, stdout=subprocess.DEVNULL)
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted((folder / "eml").glob("*.eml"))]


def signed(raw: bytes) -> bytes:
    """The mail with a real signature of its sender instead of the made-up one."""
    match = _FROM.search(raw)
    assert match is not None
    return Signer(match[1].decode().strip(), "s1", key_tags="").sign(_DKIM.sub(b"", raw, count=1))


def domain_names() -> list[str]:
    shapes = ("example{}.com", "corp{}.example", "d{}.test")
    return [shape.format(number) for shape in shapes for number in range(40)]


# Where it goes


@dataclass
class Installation:
    folder: Path

    def environment(self, **settings: str) -> dict[str, str]:
        # the reports are of 2026: a clock past its end has them counted
        offset = {"MAILWARD_CLOCK_OFFSET_SECONDS": str(400 * 86_400)}
        return os.environ | {"MAILWARD_DATA": str(self.folder)} | offset | settings

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.folder / "mailward.sqlite3")) as database:
            return database.execute(query).fetchall()


@contextmanager
def installation() -> Iterator[Installation]:
    """A fresh data folder with an organisation that has every domain of the reports."""
    with tempfile.TemporaryDirectory(dir=OUT) as name:
        fresh = Installation(Path(name))
        command = [sys.executable, "-m", "mailward", "_prepare"]
        subprocess.run(command, env=fresh.environment(), check=True, stdout=subprocess.DEVNULL)
        with contextlib.closing(sqlite3.connect(fresh.folder / "mailward.sqlite3")) as database, database:
            (organisation,) = database.execute(
                "INSERT INTO store_organisation (name, report_token, created_at)"
                " VALUES ('Bench', 'org-bench', '2026-11-24') RETURNING id"
            ).fetchone()
            database.executemany(
                "INSERT INTO store_domain"
                " (organisation_id, name, report_token, claim_token, delegation_token, test_report_nonce, created_at)"
                " VALUES (?, ?, ?, 'claim', ?, '', '2026-11-24')",
                [(organisation, name, f"token-{name}", name) for name in domain_names()],
            )
        yield fresh


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Through the mail door


class Sender:
    """A sending MTA that delivers mail after mail: a command, its reply, the next."""

    def __init__(self, port: int, mails: Iterator[bytes], mails_a_connection: int) -> None:
        self.port, self.mails, self.mails_a_connection = port, mails, mails_a_connection
        self.accepted = 0

    async def run(self) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            await reader.readline()
            await self.command(reader, writer, b"EHLO bench.test\r\n")
            for _ in range(self.mails_a_connection):
                raw = next(self.mails, None)
                if raw is None:
                    writer.close()
                    return
                await self.deliver(reader, writer, raw)
            writer.write(b"QUIT\r\n")
            await reader.readline()
            writer.close()

    async def deliver(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> None:
        await self.command(reader, writer, b"MAIL FROM:<noreply@bench.test>\r\n")
        await self.command(reader, writer, f"RCPT TO:<{ADDRESS}>\r\n".encode())
        await self.command(reader, writer, b"DATA\r\n")
        reply = await self.command(reader, writer, raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert reply.startswith(b"250"), reply
        self.accepted += 1

    async def command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
        writer.write(line)
        while (reply := await reader.readline())[3:4] == b"-":
            pass
        return reply


async def deliver_all(port: int, mails: Sequence[bytes], mails_a_connection: int) -> float:
    """Seconds from the first connection to the last 250."""
    left = iter(mails)
    senders = [Sender(port, left, mails_a_connection) for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    await asyncio.gather(*(sender.run() for sender in senders))
    assert sum(sender.accepted for sender in senders) == len(mails)
    return time.perf_counter() - started


@contextmanager
def doors(fresh: Installation, dns: FakeDns) -> Iterator[int]:
    """The product's process of the doors; its SMTP port."""
    port, other = free_port(), free_port()
    environment = fresh.environment(
        MAILWARD_REPORTS_SMTP_PORT=str(port),
        MAILWARD_REPORTS_HTTPS_PORT=str(other),
        MAILWARD_DNS_RESOLVERS=dns.address,
    )
    with (OUT / "doors.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "mailward", "_doors"], env=environment, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def bench_smtp() -> None:
    mails = made_reports(SMTP_MAILS)
    resigned = [signed(raw) for raw in mails]
    cases = (
        ("as made (signature fails), mails on kept connections", mails, 1_000),
        ("signed (verified), mails on kept connections", resigned, 1_000),
        ("signed (verified), a connection each", resigned, 1),
    )
    rates: dict[str, list[float]] = {name: [] for name, *_ in cases}
    dns = FakeDns(ttl=3600)
    for sender in SENDERS:
        Signer(sender, "s1", key_tags="").publish(dns)
    with dns.threaded():
        for _ in range(ROUNDS):
            for name, raws, mails_a_connection in cases:
                with installation() as fresh, doors(fresh, dns) as port:
                    seconds = uvloop.run(deliver_all(port, raws, mails_a_connection))
                    rates[name].append(len(raws) / seconds)
                    check_stored(fresh, "verified" if raws is resigned else "failed")
    print(f"\nThrough the mail door, {SMTP_MAILS} mails, {CONNECTIONS} connections at once")
    for name, each in rates.items():
        print(f"| {name} | {summary(each)} |")


def check_stored(fresh: Installation, trust: str) -> None:
    found = fresh.rows("SELECT trust, count(*), sum(counted) FROM store_report GROUP BY 1")
    truth = json.loads((OUT / f"reports-{SMTP_MAILS}/truth.json").read_text())
    assert found == [(trust, truth["totals"]["reports"], SMTP_MAILS if trust == "verified" else 0)], found


# By the import command


def parsedmarc_rate(number: int) -> float:
    """Reports a second that parsedmarc parses in its own process, files read before: by its CPU time."""
    done = subprocess.run(
        [str(PEER), "-c", _PARSEDMARC, str(OUT / f"reports-{number}/eml")],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


_PARSEDMARC = """
import glob, logging, sys, time
logging.disable(logging.CRITICAL)
import parsedmarc
mails = [open(path, "rb").read() for path in sorted(glob.glob(sys.argv[1] + "/*.eml"))]
started = time.process_time()
for mail in mails:
    parsedmarc.parse_report_email(mail, offline=True)
print(len(mails) / (time.process_time() - started))
"""


def import_seconds(folder: Path, number: int) -> tuple[float, float]:
    """Wall and CPU time of the whole command, both its processes, into a fresh data folder."""
    with installation() as fresh:
        command = [
            sys.executable,
            "-m",
            "mailward",
            "report",
            "import",
            str(folder),
            "--organisation",
            "Bench",
        ]
        started, cpu = time.perf_counter(), children_cpu()
        done = subprocess.run(command, env=fresh.environment(), capture_output=True, text=True, check=False)
        seconds, cpu = time.perf_counter() - started, children_cpu() - cpu
        assert done.returncode == 0, done.stderr
        (found,) = fresh.rows("SELECT count(*), sum(counted) FROM store_report")
        assert found == (number, number), found
    return seconds, cpu


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bench_import() -> None:
    made_reports(SMTP_MAILS)
    made_reports(IMPORT_MAILS)
    many = OUT / f"reports-{IMPORT_MAILS}/eml"
    with tempfile.TemporaryDirectory(dir=OUT) as name:
        one = Path(shutil.copy(min(many.glob("*.eml")), name)).parent
        peer, whole, inside, cpu = [], [], [], []
        for _ in range(ROUNDS):
            peer.append(parsedmarc_rate(SMTP_MAILS))
            started, started_cpu = import_seconds(one, 1)
            seconds, used = import_seconds(many, IMPORT_MAILS)
            whole.append(IMPORT_MAILS / seconds)
            inside.append(IMPORT_MAILS / (seconds - started))
            cpu.append((used - started_cpu) / IMPORT_MAILS * 1e6)
    print(f"\nImport of {IMPORT_MAILS} mails, reports a second")
    print(f"| parsedmarc, parsing alone, in process | {summary(peer)} |")
    print(f"| mailward report import, the whole command | {summary(whole)} |")
    print(f"| mailward report import, without its start | {summary(inside)} |")
    print(f"| its CPU time, both processes, µs a report | {summary(cpu)} |")
    print(f"| parsedmarc's, µs a report | {summary([1e6 / rate for rate in peer])} |")
    for name, rates in (("whole command", whole), ("without its start", inside)):
        ratios = [ours / theirs for ours, theirs in zip(rates, peer, strict=True)]
        print(f"| ratio, {name} | {statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) |")


def summary(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def main() -> None:
    OUT.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or ["smtp", "import"]
    if "smtp" in wanted:
        bench_smtp()
    if "import" in wanted:
        bench_import()


if __name__ == "__main__":
    main()
