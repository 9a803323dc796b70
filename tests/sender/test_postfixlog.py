"""Logs as they are written, rotated, cut, and not to be read."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailward.core.postfix.smtplog import Entry, Signalled
from mailward.sender import postfixlog
from mailward.sender.postfixlog import CONTEXT_BYTES, MAX_LINE_BYTES, Batch, FileLog, JournalLog, open_log


def line(name: str) -> str:
    return f"Nov 28 23:15:02 m postfix/smtp[7]: TLSRPT: status=success, domain={name}.test, receiving_mx=m[192.0.2.1]\n"


def names(batch: Batch) -> list[str]:
    """Of the lines that are new."""
    return [name(entry) for entry, place in batch.entries if place is not None]


def name(entry: Entry) -> str:
    assert isinstance(entry.event, Signalled)
    return entry.event.domain.removesuffix(".test")


def append(path: Path, *texts: str) -> None:
    with path.open("a") as stream:
        stream.writelines(texts)


def rotate(path: Path) -> Path:
    return path.rename(path.with_name("mail.log.1"))


def overwrite(path: Path, text: str) -> None:
    path.write_text(text)


async def read_all(log: FileLog) -> list[str]:
    found = names(batch := await log.read())
    while batch.is_full:
        found += names(batch := await log.read())
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mail.log"


async def test_at_the_first_start_what_was_there_is_context(path: Path) -> None:
    append(path, line("old"))
    log = FileLog(path, None)
    append(path, line("early"))  # before it is opened: nobody knows whether we were there
    batch = await log.read()
    assert [(name(entry), place) for entry, place in batch.entries] == [("old", None), ("early", None)]
    append(path, line("new"))
    assert names(await log.read()) == ["new"]
    assert not (await log.read()).has_gap
    await log.close()


async def test_a_line_is_read_when_it_has_ended(path: Path) -> None:
    append(path)
    log = FileLog(path, None)
    await log.read()
    append(path, line("a")[:30])
    assert names(await log.read()) == []
    append(path, line("a")[30:] + line("b"))
    assert names(await log.read()) == ["a", "b"]
    await log.close()


async def test_after_a_restart_it_goes_on_where_it_was(path: Path) -> None:
    append(path)
    log = FileLog(path, None)
    await log.read()
    append(path, line("a"), line("b"))
    place = (await log.read()).entries[0][1]
    await log.close()
    append(path, line("c"))
    again = FileLog(path, place)
    batch = await again.read()
    assert [name(entry) for entry, place in batch.entries if place is None] == ["a"]
    assert (names(batch), batch.has_gap) == (["b", "c"], False)
    await again.close()


async def test_rotation_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postfixlog, "ROTATED_SECONDS", 0.0)
    append(path, line("a"))
    log = FileLog(path, None)
    await log.read()
    old = rotate(path)
    assert names(await log.read()) == []  # the next one is not there yet
    append(path, line("c"))
    append(old, line("b"))  # by who has it still open
    assert await read_all(log) == ["b"]
    for _ in range(2):
        assert await read_all(log) == []
    assert await read_all(log) == ["c"]
    await log.close()


async def test_rotation_while_nobody_looked_loses_nothing(path: Path) -> None:
    append(path)
    log = FileLog(path, None)
    await log.read()
    append(path, line("a"))
    place = (await log.read()).entries[-1][1]
    await log.close()
    append(path, line("b"))
    rotate(path)
    append(path, line("c"))
    again = FileLog(path, place)
    assert await read_all(again) == ["b"]
    again._file = None  # as after ROTATED_SECONDS
    batch = await again.read()
    assert (names(batch), batch.has_gap) == (["c"], False)
    await again.close()


async def test_a_file_that_is_cut_begins_anew_and_says_so(path: Path) -> None:
    append(path, line("a") * 5)
    log = FileLog(path, None)
    await log.read()
    overwrite(path, line("b"))
    batch = await log.read()
    assert (names(batch), batch.has_gap) == (["b"], True)
    await log.close()


async def test_a_file_that_is_gone_at_the_start_is_a_gap(path: Path) -> None:
    append(path, line("a"))
    log = FileLog(path, "1:17")
    batch = await log.read()
    assert (names(batch), batch.has_gap) == (["a"], True)
    await log.close()


async def test_a_file_that_is_not_there_yet_is_waited_for(path: Path) -> None:
    log = FileLog(path, None)
    assert (await log.read()).entries == []
    append(path, line("a"))  # all that is in it came after us
    assert names(await log.read()) == ["a"]
    await log.close()


async def test_context_is_bounded_and_begins_with_a_whole_line(path: Path) -> None:
    text = line("a")
    append(path, text * (2 * CONTEXT_BYTES // len(text)))
    log = FileLog(path, None)
    entries = (await log.read()).entries + (await log.read()).entries
    assert all(place is None for _, place in entries)
    assert CONTEXT_BYTES // len(text) - 2 <= len(entries) <= CONTEXT_BYTES // len(text)
    await log.close()


@pytest.mark.parametrize("junk", ["x" * (3 * MAX_LINE_BYTES), "\x00\xff\n" * 100, "\udcff\r\n"])
async def test_hostile_lines_hide_no_others(path: Path, junk: str) -> None:
    append(path)
    log = FileLog(path, None)
    await log.read()
    with path.open("ab") as stream:
        stream.write(
            line("a").encode() + junk.encode("utf-8", "surrogateescape") + b"\n" + line("b").encode()
        )
    assert await read_all(log) == ["a", "b"]
    await log.close()


_JOURNALD = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
# that of Debian 13 ends where there is no cgroup2 tree, as in a chroot
[ -e /sys/fs/cgroup ] || { mount -t sysfs sysfs /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup; }
/lib/systemd/systemd-journald 2>/dev/null &
until [ -S /run/systemd/journal/dev-log ]; do sleep 0.05; done
echo ready
while read -r; do sleep 0.01; done
kill %1
"""
_WRITE = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("/run/systemd/journal/dev-log")
for name in sys.argv[1:]:
    text = f"TLSRPT: status=success, domain={name}.test, receiving_mx=m[192.0.2.1]"
    s.send(f"<22>Nov 28 23:15:02 postfix/smtp[7]: {text}".encode())
"""


class Journal:
    """A systemd-journald of the test's own, where only it sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _JOURNALD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        there = f"/proc/{self._process.pid}"
        self.inside = ("nsenter", f"--mount={there}/ns/mnt", f"--root={there}/root")  # a chroot stays one

    def write(self, *names: str) -> None:
        subprocess.run([*self.inside, sys.executable, "-c", _WRITE, *names], check=True)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture
def journal() -> Iterator[Journal]:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("a mount namespace needs root")
    assert shutil.which("journalctl"), "scripts/test-needs installs it"
    made = Journal()
    yield made
    made.close()


async def expect(log: JournalLog, count: int) -> list[str]:
    found: list[str] = []
    for _ in range(200):
        found += names(await log.read())
        if len(found) >= count:
            break
    return found


async def test_the_journal_is_followed_from_its_end_and_then_from_where_it_was(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postfixlog, "_RESTART_SECONDS", 0.0)
    journal.write("old")
    log = JournalLog(None, (*journal.inside, "journalctl"))
    contexts = 0
    for _ in range(100):
        contexts += sum(place is None for _, place in (await log.read()).entries)
        if contexts:
            break
    journal.write("a", "b")
    assert await expect(log, 2) == ["a", "b"]
    place = log._cursor
    await log.close()
    journal.write("c")
    again = open_log("journal", place, (*journal.inside, "journalctl"))
    assert isinstance(again, JournalLog)
    assert await expect(again, 1) == ["c"]
    assert again._process is not None
    again._process.send_signal(signal.SIGKILL)  # whatever ends it, it goes on
    journal.write("d")
    assert await expect(again, 1) == ["d"]
    await again.close()
