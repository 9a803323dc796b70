"""`mailward survey` over a zone of 100,000 names, and checkdmarc over a sample of it, in the same run.

Every row is compared with what is known of its name. Needs root (a network namespace), nsd and nginx.
"""

import argparse
import contextlib
import csv
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from bench.sender_lab import enter_namespace
from bench.survey_lab import Lab, expect

FOLDER = Path("bench/out/survey")
MIB = 1024 * 1024
_PR_SET_CHILD_SUBREAPER = 36


class Memory(threading.Thread):
    """The most that a process and all its children hold at one time, each with what it shares (RSS)."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._root = root
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.1):
            self.peak = max(self.peak, sum(_resident(pid) for pid in _family(self._root)))

    def end(self) -> int:
        self._stop_asked.set()
        self.join()
        return self.peak


def _family(root: int) -> list[int]:
    found, at = [root], 0
    while at < len(found):
        try:
            tasks = Path(f"/proc/{found[at]}/task").iterdir()
            children = [int(each) for task in tasks for each in (task / "children").read_text().split()]
        except (OSError, ValueError):
            children = []
        found += children
        at += 1
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def run_ours(lab: Lab, out: Path, options: list[str]) -> tuple[float, int]:
    """Seconds of the whole command, and the most memory."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "mailward", "survey", str(lab.list_file), "--out", str(out)]
    command += ["--resolver", "127.0.0.1", "--ca-file", str(lab.ca_file), "--allow-private", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    memory = Memory(process.pid)
    memory.start()
    if process.wait() != 0:
        sys.exit("bench.survey: the survey failed")
    seconds = time.perf_counter() - started
    _await_orphans(process.pid)
    return seconds, memory.end()


def _await_orphans(group: int) -> None:
    """Of processes that nobody has waited for, `spent` would not know."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def seconds_without_start(out: Path) -> float:
    """From when the list is read until all files are written, as the survey itself tells."""
    told = json.loads((out / "survey.json").read_bytes())
    begun, ended = (datetime.fromisoformat(told[key]) for key in ("started_at", "finished_at"))
    return (ended - begun).total_seconds()


def spent() -> float:
    """Processor seconds of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_peer(lab: Lab, sample: list[str], *options: str) -> tuple[float, list[dict[str, object]]]:
    """Seconds without its start, and what it found."""
    python = Path(".venv-bench-check/bin/python")
    done = subprocess.run(
        [str(python), "bench/survey_peer.py", *options],
        input="\n".join(sample),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(lab.ca_file)},
    )
    return float(done.stderr.split()[-1]), [json.loads(line) for line in done.stdout.splitlines()]


def verify(lab: Lab, results: Path) -> int:
    """How many rows are not what they must be; the first of them are told."""
    wanted = {name.domain: name for name in lab.names()}
    wrong = 0
    with results.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = wanted.pop(row["domain"])
            known = expect(name)
            found = {key: row[key] or None for key in known} | {"codes": set(row["codes"].split())}
            if found != known or row["status"] != "ok":
                wrong += 1
                if wrong <= 5:
                    print(f"{name}: {found}, not {known}; {row['error']}")
    if wanted:
        print(f"{len(wanted)} names have no row")
    return wrong + len(wanted)


def compare_peer(lab: Lab, found: list[dict[str, object]]) -> int:
    """On how many of its domains the peer sees another state of the policy than is there."""
    names = {name.domain: name for name in lab.names()}
    good = {"enforce", "testing", "mode-none", "uncovered", "html"}  # it warns of the media type only
    return sum(
        bool(dict(each["mta_sts"])["valid"]) != (names[str(each["domain"])].policy in good)  # type: ignore[call-overload]
        for each in found
    )


def _ms(seconds: float) -> float:
    return 1000 * seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", nargs="*", default=[], help="more options of mailward survey, without --")
    arguments = parser.parse_args()
    enter_namespace(FOLDER.absolute(), "bench.survey")
    # what a command leaves behind for a moment becomes a child of ours
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lab = Lab(FOLDER.absolute() / str(arguments.names), arguments.names)
    lab.make()
    print(f"{arguments.names:,} names; policies: {dict(lab.kinds())}; load {os.getloadavg()[0]:.2f}")
    servers = lab.start()
    stride = max(1, arguments.names // arguments.sample)
    sample = [name.domain for name in lab.names() if name.number % stride == 0][: arguments.sample]
    options = [f"--{option}" for option in arguments.ours]
    try:
        for number in range(arguments.rounds):
            _round(lab, sample, options, number)
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def _round(lab: Lab, sample: list[str], options: list[str], number: int) -> None:
    before = spent()
    whole, _ = run_peer(lab, sample)
    between = spent()
    same, found = run_peer(lab, sample, "--same")
    after = spent()
    out = FOLDER / f"out-{number}"
    seconds, memory = run_ours(lab, out, options)
    costs = [(between - before) / len(sample), (after - between) / len(sample), (spent() - after) / lab.count]
    wrong = verify(lab, out / "results.csv")
    ours, peer, bare = lab.count / seconds, len(sample) / whole, len(sample) / same
    started = lab.count / seconds_without_start(out)
    print(f"round {number + 1}: load {os.getloadavg()[0]:.2f}")
    print(
        f"  mailward survey    {ours:8,.0f} domains/s, {seconds:.1f} s, peak {memory / MIB:.0f} MiB, {wrong} rows wrong"
    )
    print(f"  without its start  {started:8,.0f} domains/s, its files written")
    print(
        f"  checkdmarc         {peer:8,.1f} domains/s without its start, as it is: {started / peer:.1f} times slower, "
        f"{ours / peer:.1f} than our whole command"
    )
    print(
        f"  checkdmarc, less   {bare:8,.1f} domains/s, the same questions: {started / bare:.1f} times slower"
    )
    print(
        "  processor time of a domain, ms: ours {2:.3f}, checkdmarc {0:.2f}, less {1:.2f}".format(
            *map(_ms, costs)
        )
    )
    print(f"  the peer's view of policies differs on {compare_peer(lab, found)} of {len(found)}")


if __name__ == "__main__":
    main()
