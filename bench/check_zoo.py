"""The zoo of broken domains before two checkers, ours and checkdmarc 6: what each finds, misses and says falsely, and
how long a domain takes each.

    bench/run check-zoo [--rounds 3] [--only m05] [--write]

Both run in the namespace of the zoo's sender, trust the zoo's root and ask its resolver; row by row, one after the
other, in turns, in a process of their own each round, so that neither remembers anything. `--write` brings
docs/check-compared.md up to date.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import check_zoo_page
from tests.zoo.rows import Row, read_rows
from tests.zoo.servers import Servers, running_zoo

ROOT = Path(__file__).resolve().parent.parent
OURS = [sys.executable, "-m", "bench.ours_check"]
THEIRS = [str(ROOT / ".venv-bench-check/bin/python"), str(ROOT / "bench/peer_checkdmarc.py")]
OUT = ROOT / "bench/out/check-zoo.json"
Answer = tuple[float, float, dict[str, Any]]
"""Seconds, seconds of the processor, and what was said."""
Said = dict[str, list[Answer]]
"""By row, in each round."""


class Checker:
    """A process in the namespace of the sender."""

    def __init__(self, servers: Servers, command: Sequence[str]) -> None:
        resolv = servers.folder / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions trust-ad edns0\n")
        root = str(servers.zoo.root_file)
        # `ip netns exec` has a mount namespace of its own: the machine's resolv.conf is not touched
        shell = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        inside = [*servers.network.inside("sender"), "sh", "-c", shell, str(resolv), *command]
        self._process = subprocess.Popen(
            inside,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "REQUESTS_CA_BUNDLE": root, "SSL_CERT_FILE": root},
        )

    def ask(self, line: str) -> Answer:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{line}\n")
        stdin.flush()
        seconds, cpu, found = json.loads(stdout.readline())
        return seconds, cpu, found

    def stop(self) -> None:
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose label begins so")
    parser.add_argument("--write", action="store_true", help="the tables of docs/check-compared.md too")
    parser.add_argument("--again", action="store_true", help="judge what the last run has taken")
    arguments = parser.parse_args()
    rows = [row for row in read_rows() if row.label.startswith(arguments.only)]
    if not arguments.again:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps(take(rows, arguments.rounds)))
    said = json.loads(OUT.read_text())
    if arguments.write:
        check_zoo_page.write([row for row in rows if row.label in said["ours"]], said)


def take(rows: Sequence[Row], rounds: int) -> dict[str, Said]:
    said: dict[str, Said] = {"ours": {}, "theirs": {}}
    with running_zoo(rows) as servers:
        commands = {"ours": [*OURS, str(servers.zoo.root_file)], "theirs": THEIRS}
        for number in range(rounds):
            with _checkers(servers, commands) as checkers:
                for at, row in enumerate(rows):
                    turn = list(checkers) if (number + at) % 2 else list(reversed(checkers))
                    for name in turn:
                        line = f"{row.domain} deep" if row.is_deep and name == "ours" else row.domain
                        said[name].setdefault(row.label, []).append(checkers[name].ask(line))
                    print(row.label, *(f"{name} {said[name][row.label][-1][0]:.2f}" for name in said))
    return said


@contextmanager
def _checkers(servers: Servers, commands: dict[str, list[str]]) -> Iterator[dict[str, Checker]]:
    checkers = {name: Checker(servers, command) for name, command in commands.items()}
    try:
        yield checkers
    finally:
        for checker in checkers.values():
            checker.stop()


if __name__ == "__main__":
    main()
