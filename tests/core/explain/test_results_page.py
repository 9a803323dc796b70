"""docs/results.md says what the catalogue says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-results-page", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-results-page"
