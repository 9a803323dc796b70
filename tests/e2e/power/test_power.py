"""The power fails, at any moment under load: it comes up by itself, and nothing that was acknowledged is missing.

The load: reports by mail and by POST, policies edited, certificates renewed at a real CA, questions to the nameserver.
At every second moment all processes are killed and the data folder, copied at that instant, is what goes on; at the
others the disk loses its power first, and with it all that was not synced.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from tests.e2e.certificates.site import PLATFORM, Provider, running_provider, wait_until
from tests.e2e.power.disk import Disk

from mailward.lab import program
from mailward.lab.network import address

ROOT = Path(__file__).parents[3]
NAMES = [f"d{number}.power.test" for number in range(6)]
ISSUED = " certificate-issued "
PROMISES = ("load.out", "edit.out")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes long to start five processes; whether it starts is what is tested."""
    monkeypatch.setattr(program, "READY_SECONDS", 400)


class Said(NamedTuple):
    """How much was said until now."""

    sizes: dict[str, int]
    certificates: int

    @classmethod
    def of(cls, provider: Provider) -> Self:
        sizes = {name: (provider.folder / name).stat().st_size for name in PROMISES}
        return cls(sizes, provider.serve.said().count(ISSUED))


@dataclass
class Promises:
    """What was answered so far."""

    reports: set[str] = field(default_factory=set)
    policies: set[tuple[str, int, str]] = field(default_factory=set)
    serial: int = 0
    certificates: int = 0
    _doubtful: list["Said"] = field(default_factory=list)

    def doubt(self, before: "Said", after: "Said") -> None:
        """What was answered between them is no promise: the disk had lost its power, and ext4 is known to call a flush
        done that was under way then. A real machine answers nobody any more.
        """
        self._doubtful += [before, after]

    def read(self, provider: Provider) -> None:
        for name in PROMISES:
            said = (provider.folder / name).read_text()
            ends = [0, *(each.sizes[name] for each in self._doubtful), len(said)]
            kept = "".join(said[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))
            # a line that a kill has cut off promises nothing
            for line in kept.split("\n")[:-1]:
                words = line.split()
                if words[0] == "policy":
                    self.policies.add((words[1], int(words[2]), words[3]))
                elif words[0] == "serial":
                    self.serial = max(self.serial, int(words[1]))
                else:
                    self.reports.add(line)
        issued = [each.certificates for each in self._doubtful]
        self.certificates = Said.of(provider).certificates - sum(issued[1::2]) + sum(issued[::2])

    def counts(self) -> dict[str, int]:
        kinds = Counter(report.split()[0] for report in self.reports)
        return {**kinds, "policies": len(self.policies), "certificates": self.certificates}


class Power:
    """A provider whose machine can be switched off."""

    def __init__(self, provider: Provider, disk: Disk) -> None:
        self.provider, self.disk = provider, disk
        self.promises = Promises()
        self._editor: subprocess.Popen[bytes] | None = None
        (provider.folder / "edit.out").touch()
        [(token,)] = provider.rows(f"SELECT report_token FROM store_domain WHERE name = '{NAMES[0]}'")
        with (provider.folder / "load.out").open("ab") as output:
            command = [sys.executable, "-m", "tests.e2e.power.load", address(PLATFORM), token]
            inside = provider.network.inside("client")
            self.load = subprocess.Popen([*inside, *command], cwd=ROOT, stdout=output)

    def edit(self) -> None:
        # what is renewed is ordered anew: there is always an order under way
        past = "datetime('now', '-1 minute')"
        self.provider.write(f"UPDATE store_certificatecare SET renew_at = {past}, due_at = {past}")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILWARD", "DJANGO"))}
        folder = self.provider.folder
        with (folder / "edit.out").open("ab") as output, (folder / "edit.err").open("ab") as errors:
            self._editor = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.power.edit"],
                cwd=ROOT,
                stdout=output,
                stderr=errors,
                env=kept | self.provider.environment,
            )

    def fail(self, *, loses_unsynced: bool) -> None:
        """Everything at once; then as it is found after the restart."""
        before = Said.of(self.provider)
        if loses_unsynced:
            self.disk.cut()
        serve = self.provider.serve._process
        assert serve is not None
        assert self._editor is not None
        pids = [*_stop_family(serve.pid), self._editor.pid]
        for pid in pids:
            # one may have ended since, with its parent
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (serve, self._editor):
            process.wait()
        if serve.stdin is not None:
            serve.stdin.close()
        self.provider.serve._process = None
        wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), 20, every=0.02)
        if loses_unsynced:
            self.disk.come_back()
            self.promises.doubt(before, Said.of(self.provider))
        else:
            _replace_by_copy(self.disk.folder)

    def is_loaded(self) -> bool:
        return self.load.poll() is None and self._editor is not None and self._editor.poll() is None

    def stop(self) -> None:
        self.load.kill()
        self.load.wait()
        if self._editor is not None:
            self._editor.kill()
            self._editor.wait()

    def check(self) -> None:
        """Of a provider that runs again."""
        self.promises.read(self.provider)
        provider, promised = self.provider, self.promises
        assert provider.rows("PRAGMA integrity_check") == [("ok",)]
        assert not provider.rows("PRAGMA foreign_key_check")
        reports = {row[0] for row in provider.rows("SELECT report_id FROM store_report")}
        missing = promised.reports - reports
        assert not missing, f"{sorted(missing)} of {len(promised.reports)}"
        policies = provider.rows(
            "SELECT d.name, v.number, v.policy_id FROM store_policyversion v JOIN store_domain d ON d.id = v.domain_id"
        )
        assert not promised.policies - set(policies)
        [(certificates,)] = provider.rows("SELECT count(*) FROM store_certificate")
        assert certificates >= promised.certificates
        [(serial,)] = provider.rows("SELECT zone_value FROM store_hostinggeneration")
        assert serial >= promised.serial
        # and it serves what was published last, at the latest
        newest = max((number for name, number, _ in promised.policies if name == NAMES[0]), default=0)
        if newest > 1:
            wait_until(lambda: _served(provider) >= newest, 200)


def _served(provider: Provider) -> int:
    """The number of the version of the first domain that senders get."""
    for line in provider.fetch(NAMES[0]).splitlines():
        if line.startswith("max_age: 1"):
            return int(line.split()[1]) - 100_000 + 1
    return 0


def _stop_family(pid: int) -> list[int]:
    """A process and all below it, held first so that none has a child meanwhile: the whole of `mailward serve`, and
    `ip netns exec` where it stays.
    """
    try:
        os.kill(pid, signal.SIGSTOP)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (ProcessLookupError, FileNotFoundError):
        return []
    return [pid, *(each for child in children for each in _stop_family(int(child)))]


def _replace_by_copy(folder: Path) -> None:
    copy = folder / ".copy"
    copy.mkdir()
    names = [
        path.name
        for path in folder.iterdir()
        if path.name not in (".copy", "lost+found") and not path.is_socket()
    ]
    for name in names:
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / name)
        shutil.rmtree(source) if source.is_dir() else source.unlink()
    for name in names:
        (copy / name).rename(folder / name)
    copy.rmdir()
    # the copy is what was there at the restart: the next failure is not to lose it
    os.sync()


def _fail_at(moments: int) -> None:
    disks: list[Disk] = []

    def disk(folder: Path) -> Disk:
        disks.append(Disk(folder))
        return disks[0]

    dice = random.Random(8461)
    with running_provider(["power.test"], disk=disk) as provider:
        provider.publish(provider.add(NAMES), "power.test.")
        wait_until(lambda: provider.fetch(NAMES[0]), 120)
        power = Power(provider, disks[0])
        begun, slowest = time.monotonic(), 0.0
        try:
            for moment in range(moments):
                power.edit()
                before = power.promises.counts()
                # a busy machine may promise nothing so soon
                wait_until(lambda before=before: _has_promised(power, before), 300, every=0.05)
                time.sleep(dice.uniform(0, 1.5))  # the moment is what is tested
                power.fail(loses_unsynced=bool(moment % 2))
                restarted = time.monotonic()
                provider.start()
                slowest = max(slowest, time.monotonic() - restarted)
                power.check()
                took = time.monotonic() - begun
                figures = f"{took:.0f} s, slowest start {slowest:.1f} s: {power.promises.counts()}"
                print(f"{moment + 1} moments, {figures}", flush=True)  # noqa: T201
        finally:
            power.stop()
        counts = power.promises.counts()
        assert min(counts[kind] for kind in ("mail", "post", "policies", "certificates")) > 0


def _has_promised(power: Power, before: dict[str, int]) -> bool:
    assert power.is_loaded(), (power.provider.folder / "edit.err").read_text()[-2000:]
    power.promises.read(power.provider)
    now = power.promises.counts()
    return all(now.get(kind, 0) > before.get(kind, 0) for kind in ("mail", "post", "policies"))


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_missing_after_the_power_failed() -> None:
    _fail_at(5)


@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_nothing_acknowledged_is_missing_at_a_hundred_moments() -> None:
    _fail_at(100)
