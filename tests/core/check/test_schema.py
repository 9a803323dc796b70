"""The published form of documents holds for whatever a check can find, and refuses what is not of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.check.documents import assert_of_the_form
from tests.core.check.made import facts
from tests.core.check.test_history import CASES as OVER_TIME
from tests.core.check.test_history import at
from tests.core.check.test_rules import CASES, TOGETHER

from mailward.core.check.document import build_document
from mailward.core.check.facts import Facts
from mailward.core.check.run import run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("seen", [row[2] for row in (*CASES, *TOGETHER)], ids=lambda _: "")
def test_a_document_of_whatever_fault_is_of_the_form(seen: Facts) -> None:
    assert_of_the_form(build_document(run(seen)))


@pytest.mark.parametrize("days", [row[3] for row in OVER_TIME], ids=[row[0] for row in OVER_TIME])
def test_with_earlier_checks_it_is_too(days: dict[float, Facts]) -> None:
    *earlier, now = days.items()
    assert_of_the_form(build_document(run(now[1], [at(seen, ago) for ago, seen in earlier])))


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"worst": "terrible"}, {"at": "yesterday"}, {"more": 1}, {"facts": {}}]
)
def test_what_is_not_of_the_form_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, AssertionError)):
        assert_of_the_form(build_document(run(facts())) | change)


def test_the_published_schema_is_of_these_types() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-check-schema", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-check-schema"
