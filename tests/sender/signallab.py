"""`mailward sender run` with its collector, and somebody who sends datagrams as libtlsrpt does."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from tests.sender.lab import Lab
from tests.sender.process import Process, make_process

from mailward.core.names import parse_domain
from mailward.net import clock
from mailward.sender.counts import Counts, CountsError

SAMPLES = Path(__file__).parents[1] / "fixtures" / "datagrams"
EXPIRED = (SAMPLES / "sts-fail-204-expired.json").read_bytes()
GOOD = (SAMPLES / "sts-success-sts.json").read_bytes()


def with_collector(lab: Lab, more: str = "", **changes: str) -> Process:
    process = make_process(lab, **changes)
    lines = [f'data = "{lab.folder}"', process.config.read_text(), "[tlsrpt]"]
    lines += [f'socket = "{socket_path(lab)}"', f'counts = "{counts_path(lab)}"', more]
    process.config.write_text("\n".join(lines))
    return process


def socket_path(lab: Lab) -> Path:
    return lab.folder / "tlsrpt.sock"


def counts_path(lab: Lab) -> Path:
    return lab.folder / "counts" / "counts.sqlite3"


class Sender:
    """Waits where the queue is full, unless told otherwise: then it loses what libtlsrpt would lose."""

    def __init__(self, path: Path, *, waits: bool = True) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))
        self._socket.setblocking(waits)
        self.lost = 0

    def send(self, raw: bytes) -> None:
        try:
            self._socket.send(raw)
        except BlockingIOError:
            self.lost += 1

    def close(self) -> None:
        self._socket.close()


def sessions(lab: Lab, domain: str) -> tuple[int, int]:
    """Successes and failures of today, over all policies."""
    try:
        counts = Counts(counts_path(lab))
    except CountsError:
        return 0, 0
    try:
        found = counts.read_domain(clock.today(), parse_domain(domain))
    finally:
        counts.close()
    if found is None:
        return 0, 0
    summaries = [each.summary for each in found.results]
    return (
        sum(each.total_successful_session_count or 0 for each in summaries),
        sum(each.total_failure_session_count or 0 for each in summaries),
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - other processes have no event for it
            await asyncio.sleep(0.05)


def children(process: Process) -> list[int]:
    """Of the parent, in the order of their start."""
    assert process.process is not None
    pid = process.process.pid
    return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def find_collector(process: Process) -> int | None:
    return find_companion(process, "collector")


def find_companion(process: Process, name: str) -> int | None:
    for child in children(process):
        try:
            if Path(f"/proc/{child}/comm").read_text() == f"mw-{name}\n":
                return child
        except OSError:
            continue
    return None


def collector_of(process: Process) -> int:
    found = find_collector(process)
    assert found is not None
    return found
