"""A day of 100,000 domains becomes signed reports, on one core: read from the counts, built, gzipped and stored, then
each composed as a mail, signed with RSA-2048 and written to a file.

    bench/run daily [--domains 100000]

CPU seconds and wall seconds of a process of its own, bound to one core; its memory at 1,000 domains and at the end.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailward.config import Settings, Tlsrpt
from mailward.core.names import Domain
from mailward.core.tlsrpt.counting import Detail, Origin, Tally
from mailward.core.tlsrpt.daily import count_sessions
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.reading import check_strict
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.sender.counts import Counts, Part
from mailward.sender.dkimkeys import load_keys, make_key, record_of
from mailward.sender.letters import Letters, make_reporter
from mailward.sender.makeday import make_day
from mailward.sender.reportrows import Delivery
from mailward.sender.reportstore import ReportStore

DAY = date(2026, 11, 27)
NOW = datetime(2026, 11, 28, 0, 20, tzinfo=UTC)
BATCH = 2_000
FEW = 1_000
CHECKED = 300
ROOT = Path(__file__).resolve().parent.parent
PARSEDMARC = """
import json, logging, pathlib, sys, parsedmarc
logging.disable(logging.CRITICAL)
found = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.eml")):
    read = parsedmarc.parse_report_email(path.read_bytes(), offline=True)
    assert read["report_type"] == "smtp_tls", read["report_type"]
    policies = read["report"]["policies"]
    sums = [sum(each[f"{kind}_session_count"] for each in policies) for kind in ("successful", "failed")]
    found.append(sums)
print(json.dumps(found))
"""


def tallies(domains: int) -> Iterator[Tally]:
    """What a day looks like: each domain with its own policy; one in ten with DANE too, one in five with failures."""
    for number in range(domains):
        name = Domain(f"d{number:06}.example")
        record = f"v=TLSRPTv1; rua=mailto:tls@{name}"
        lines = ("version: STSv1", "mode: enforce", f"mx: mx.{name}", f"mx: *.{name}", "max_age: 604800")
        sts = Policy(
            policy_type="sts", policy_domain=name, policy_string=lines, mx_host=(f"mx.{name}", f"*.{name}")
        )
        details = tuple(
            Detail(
                FailureDetail(
                    result_type=kind,
                    sending_mta_ip="192.0.2.1",
                    receiving_mx_hostname=f"mx.{name}",
                    receiving_ip="198.51.100.7",
                ),
                2,
            )
            for kind in (("certificate-expired", "starttls-not-supported") if number % 5 == 0 else ())
        )
        failures = sum(sessions for _, sessions in details)
        yield Tally(DAY, name, record, sts, Origin.DATAGRAM, 40, failures, details)
        if number % 10 == 0:
            tlsa = Policy(
                policy_type="tlsa", policy_domain=f"mx.{name}", policy_string=(f"3 1 1 {'ab' * 32}",)
            )
            yield Tally(DAY, name, record, tlsa, Origin.DATAGRAM, 7, 0)


def fill(folder: Path, domains: int) -> None:
    counts = Counts(settings_of(folder).tlsrpt_counts_path)
    batch: list[Tally] = []
    for tally in tallies(domains):
        batch.append(tally)
        if len(batch) >= BATCH:
            counts.add(batch)
            batch.clear()
    counts.add(batch)
    counts.close()
    make_key(folder, "bench", "rsa")


def settings_of(folder: Path) -> Settings:
    return Settings(
        data=str(folder),
        tlsrpt=Tlsrpt(contact="tls-reports@sender.example", dkim_selectors=("bench",)),
    )


def work(folder: Path) -> None:
    """In a process of its own: the day, made and written. Prints the figures as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = settings_of(folder)
    reporter = make_reporter(settings)
    letters = Letters(settings, reporter, load_keys(folder, settings.tlsrpt.dkim_selectors))
    counts, store = Counts(settings.tlsrpt_counts_path), ReportStore(settings.tlsrpt_reports_path)
    started, cpu = time.perf_counter(), time.process_time()
    at = int(NOW.timestamp())
    made = make_day(counts, store, Part(DAY, 0, is_open=True), reporter, now=at, spread_seconds=0)
    made_cpu = time.process_time() - cpu
    mails = size = 0
    # what the reporter adds while it delivers, two commits a mail, is spread over the morning and not counted here
    rows = sqlite3.connect(settings.tlsrpt_reports_path).execute("SELECT * FROM delivery ORDER BY number")
    with (folder / "mails").open("wb") as out:
        for row in rows:
            delivery = Delivery(*row)
            content = store.content(delivery)
            assert content is not None
            raw = letters.write(delivery, content, NOW)
            size += out.write(raw)
            mails += 1
            if mails <= CHECKED:
                (folder / f"{mails:04}.eml").write_bytes(raw)
    figures = {
        "domains": made,
        "mails": mails,
        "bytes": size,
        "made_cpu_seconds": round(made_cpu, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "rsa_cpu_seconds": round(sign_only(letters, made), 2),
        "peak_mib": round(peak_kib() / 1024, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def sign_only(letters: Letters, count: int) -> float:
    """What so many RSA signatures cost by themselves, in the same process and moment."""
    [(_, key)] = letters._keys
    assert isinstance(key, RSAPrivateKey)
    started = time.process_time()
    for _ in range(1000):
        key.sign(b"x" * 32, PKCS1v15(), Prehashed(SHA256()))
    return (time.process_time() - started) * count / 1000


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def check(folder: Path) -> dict[str, object]:
    """The first mails, read by those who receive them: our strict mode, parsedmarc, and dkimpy for the signatures."""
    mails = [path.read_bytes() for path in sorted(folder.glob("*.eml"))]
    record = record_of(load_keys(folder, ("bench",))[0].key).encode()
    readings = [read_mail(raw, now=NOW) for raw in mails]
    command = [str(ROOT / ".venv-bench/bin/python"), "-c", PARSEDMARC, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ours = [count_sessions(reading.reports[0]) for reading in readings]
    return {
        "checked": len(mails),
        "against_the_rfc": sum(len(check_strict(reading)) for reading in readings),
        "parsedmarc_agrees": json.loads(done.stdout) == [list(each) for each in ours],
        "dkimpy_verifies": sum(
            dkim.verify(raw, dnsfunc=lambda *_, **__: record, tlsrpt="strict") for raw in mails
        ),
    }


def measure(domains: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="bench-daily-") as name:
        folder = Path(name)
        fill(folder, domains)
        command = [sys.executable, "-m", "bench.daily_reports", "--work", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout)) | (check(folder) if domains <= FEW else {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", type=int, default=100_000)
    parser.add_argument("--work", default="")
    arguments = parser.parse_args()
    if arguments.work:
        work(Path(arguments.work))
        return
    for domains in (arguments.domains // 100, arguments.domains // 10, arguments.domains):
        print(json.dumps(measure(domains)), flush=True)


if __name__ == "__main__":
    main()
