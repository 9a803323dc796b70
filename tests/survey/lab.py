"""A list, a DNS that knows its names, and the command as people run it."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
from tests.fakes.dns import FakeDns

from mailward.survey.plan import NAMES


def make_dns(count: int) -> FakeDns:
    """A third of the names has a policy record that leads nowhere."""
    dns = FakeDns()
    dns.set("mx.provider.test", "A", "192.0.2.1")
    for number in range(count):
        name = f"d{number:05}.test"
        dns.set(name, "MX", "10 mx.provider.test.")
        if number % 3 == 0:
            dns.set(f"_mta-sts.{name}", "TXT", "v=STSv1; id=1;")
    return dns


def write_list(folder: Path, count: int) -> Path:
    path = folder / "list.csv"
    path.write_text("".join(f"{number + 1},d{number:05}.test\n" for number in range(count)))
    return path


def begin(dns: FakeDns, out: Path, *words: str, workers: int = 2) -> "subprocess.Popen[bytes]":
    """Standard input, output and error are pipes."""
    command = [
        sys.executable,
        "-m",
        "mailward",
        "survey",
        *words,
        "--out",
        str(out),
        "--resolver",
        dns.address,
    ]
    return subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if not name.startswith("MAILWARD")},
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[bytes]", given: bytes = b"") -> tuple[int, str, str]:
    out, error = process.communicate(given, timeout=100)
    return process.returncode, out.decode(), error.decode()


def read_parquet(out: Path, columns: str = "*") -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        query = f"SELECT {columns} FROM read_parquet(?) ORDER BY line"
        return connection.execute(query, [str(out / "results.parquet")]).fetchall()


def planned(out: Path) -> int:
    return len((out / NAMES).read_text().splitlines())
