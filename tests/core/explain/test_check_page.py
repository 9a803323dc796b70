"""docs/check-codes.md says what the catalogue says."""

import subprocess
import sys
from pathlib import Path

from mailward.core.check.grade import LETTERS, POINTS, UNPROTECTED_LIMIT
from mailward.core.explain.explanation import Severity

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-check-page", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-check-page"


def test_the_grade_is_counted_as_published() -> None:
    page = " ".join((ROOT / "docs" / "check.md").read_text().split())
    assert f"Take off {POINTS[Severity.CRITICAL]} for each critical code" in page
    assert f"{POINTS[Severity.WARNING]} for each warning code" in page
    assert f"{UNPROTECTED_LIMIT} is the most" in page
    (a, _), (b, _), (c, _), (d, _), _ = LETTERS
    assert f"{a} is A, {b} B, {c} C, {d} D, less F" in page
