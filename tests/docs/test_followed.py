"""An empty Debian, and the documentation: see tests/docs/follow.py for what is looked at."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEN = (
    "senders fetch the policy by its name",
    "both reports are on the page",
    "after the restore, senders fetch the policy",
    "after the restore, every report is there",
    "after the upgrade, every report is there",
    "no step of the documentation is left out",
)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_an_empty_debian_becomes_what_the_documentation_says(suite: str) -> None:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("namespaces and Debian trees need root")
    done = subprocess.run(
        [str(ROOT / "scripts" / "try-docs"), suite], check=False, capture_output=True, text=True, timeout=1780
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert [what for what in SEEN if f"ok  {what}" not in done.stdout] == []
