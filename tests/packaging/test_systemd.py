"""The units at work: a Debian with systemd as process 1, Postfix, and Mailward as docs/sender.md installs it."""

import os
import subprocess

import pytest
from tests.packaging.test_packaging import ROOT

SEEN = (
    "a question starts it and is answered",
    "a chrooted smtp(8) delivers over verified TLS",
    "the queue is read and waiting mail told",
    "8 crashes in a row and 3 restarts lose no question",
    "nor a message of Postfix",
    "a question outlasts wrong settings",
    "it stops when told",
)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_units_work_under_systemd(suite: str) -> None:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("namespaces and Debian trees need root")
    command = [str(ROOT / "scripts" / "try-systemd"), suite]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=880)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert [what for what in SEEN if f"ok  {what}" not in done.stdout] == []
