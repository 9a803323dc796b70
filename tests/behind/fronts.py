"""Servers in front of ours, from a Debian tree of their own, on loopback, until the block ends."""

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import until
from tests.hosting.daemons import Tree

TREE = Path(__file__).with_name("front-tree")


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Front:
    tree: Tree
    process: subprocess.Popen[bytes]
    said: Path

    @property
    def log(self) -> str:
        return self.said.read_text(errors="replace")


@contextmanager
def running(
    tree: Tree, *command: str, is_up: Callable[[], bool], end: signal.Signals = signal.SIGTERM
) -> Iterator[Front]:
    """`command` stays in the foreground."""
    said = tree.root / "own" / f"{Path(command[0]).name}.log"
    with said.open("ab") as log:
        process = subprocess.Popen(["chroot", tree.root, *command], stdout=log, stderr=log)
    front = Front(tree, process, said)
    try:
        until(lambda: front.process.poll() is not None or is_up())
        assert front.process.poll() is None, front.log[-3000:]
        yield front
    finally:
        process.send_signal(end)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
