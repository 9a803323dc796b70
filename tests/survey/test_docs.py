"""docs/survey.md says what the columns are."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_columns_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-survey-page", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-survey-page"
