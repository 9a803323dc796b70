"""Test vectors that are shared between projects, read where they lie; our own tables cover the same
ground.
"""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "shared"


def load_cases(name: str) -> list[Any]:  # Any: cases are JSON of a form that each test knows
    path = SHARED / "vectors" / "derived" / name
    if not path.exists():
        pytest.skip("no ../shared beside this checkout")
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert cases, f"{name} is empty"
    return list(cases)
