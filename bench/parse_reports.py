"""Report mails to typed values: ours against parsedmarc, in turns, each in its own process on the same core.

    bench/parse_reports.py [--rounds 7] [--reports bench/out/reports-2000]

Ratios are taken round by round: absolute figures drift with the machine, the two of one round do so together.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER_BIN = ROOT / ".venv-bench" / "bin"
OUR_BIN = ROOT / ".venv" / "bin"


def read_in_rounds(folder: Path) -> None:
    """The child: one round per line on standard input, as peer_parsedmarc does."""
    from mailward.core.tlsrpt.mail import read_mail

    mails = [path.read_bytes() for path in sorted(folder.iterdir())]
    for _ in sys.stdin:
        start = time.perf_counter()
        for mail in mails:
            read_mail(mail)
        print(time.perf_counter() - start, flush=True)


class Reader:
    """A child process that reads all mails once per round."""

    def __init__(self, command: list[str], core: int) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        os.sched_setaffinity(self._process.pid, {core})

    def round(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class Run:
    """A whole process."""

    wall: float
    cpu: float
    peak_mib: float


def run(command: list[str], core: int, output: Path) -> Run:
    start = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL, cwd=ROOT)
        os.sched_setaffinity(process.pid, {core})
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, _peak(usage))


def _peak(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def compare_in_process(mails: Path, rounds: int, core: int) -> None:
    count = sum(1 for _ in mails.iterdir())
    peer = Reader([str(PEER_BIN / "python"), str(ROOT / "bench" / "peer_parsedmarc.py"), str(mails)], core)
    ours = Reader([str(OUR_BIN / "python"), __file__, "--child", str(mails)], core)
    figures = []
    peer.round(), ours.round()  # the first warms both up
    for _ in range(rounds):
        # ours takes a thirtieth of the time: the middle of three of its rounds is one figure
        figures.append((peer.round(), statistics.median(ours.round() for _ in range(3))))
    peer.close()
    ours.close()
    ratios = [theirs / mine for theirs, mine in figures]
    print(f"\n{count} mails, in process, one core, {rounds} rounds in turns\n")
    print("| | mails/s, median (min-max) | µs a mail |\n|---|---|---|")
    for name, column in (("parsedmarc parse_report_email", 0), ("mailward read_mail", 1)):
        times = [figure[column] for figure in figures]
        print(f"| {name} | {_rates(count, times)} | {statistics.median(times) / count * 1e6:.1f} |")
    print(f"| ratio, round by round | {_spread(ratios)} | |")


def compare_whole(mails: Path, rounds: int, core: int) -> None:
    count = sum(1 for _ in mails.iterdir())
    theirs: list[Run] = []
    ours: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "stdout"
        for _ in range(rounds + 1):
            folder = Path(scratch) / "parsedmarc"
            peer = [str(PEER_BIN / "parsedmarc"), "--offline", "-s", "-o", str(folder), str(mails)]
            theirs.append(run(peer, core, output))
            shutil.rmtree(folder, ignore_errors=True)
            ours.append(
                run([str(OUR_BIN / "mailward"), "report", "show", "--jsonl", str(mails)], core, output)
            )
            if output.read_bytes().count(b"\n") != count:
                sys.exit("mailward did not print one line per mail")
    del theirs[0], ours[0]
    print(f"\n{count} mails, whole process, one core, {rounds} rounds in turns\n")
    print("| | wall s, median (min-max) | cpu s | peak MiB |\n|---|---|---|---|")
    for name, runs in (("parsedmarc", theirs), ("mailward report show --jsonl", ours)):
        cpu = statistics.median(each.cpu for each in runs)
        peak = max(each.peak_mib for each in runs)
        print(f"| {name} | {_spread([each.wall for each in runs], 3)} | {cpu:.3f} | {peak:.0f} |")
    ratios = [mine.wall / peer.wall for mine, peer in zip(ours, theirs, strict=True)]
    print(f"| ours / theirs, round by round | {_spread(ratios, 3)} | | |")


def _rates(count: int, times: list[float]) -> str:
    return _spread([count / each for each in times], 0)


def _spread(values: list[float], digits: int = 1) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reports", type=Path, default=ROOT / "bench" / "out" / "reports-2000")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=["in-process", "whole"])
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        read_in_rounds(arguments.child)
        return
    mails = arguments.reports / "eml"
    if arguments.only != "whole":
        compare_in_process(mails, arguments.rounds, arguments.core)
    if arguments.only != "in-process":
        compare_whole(mails, arguments.rounds, arguments.core)


if __name__ == "__main__":
    main()
