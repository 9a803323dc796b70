"""A check of `mailward doctor` is complete: a function, its topic, an entry for each code that it tells, the page."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from mailward.core.doctor.catalogue import MEANINGS, TOPICS
from mailward.doctor import presented, world
from mailward.doctor.checks import CHECKS, Check

ROOT = Path(__file__).parents[2]


def codes_told(module: object) -> set[str]:
    """The codes that a module hands to `tell`, each written out."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]  # type: ignore[arg-type]
    told = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "tell"]
    codes = [call.args[0] for call in told]
    assert all(isinstance(code, ast.Constant) for code in codes), "a code is written out where it is told"
    return {str(code.value) for code in codes if isinstance(code, ast.Constant)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_tells_the_codes_of_its_topic_and_no_others(check: Check) -> None:
    told = codes_told(importlib.import_module(check.run.__module__))
    parts = {"inbound": presented, "names": world}
    if check.name in parts:
        told |= codes_told(parts[check.name])
    assert told == {meaning.code for meaning in TOPICS[check.name].meanings}


def test_checks_and_topics_are_the_same_in_the_same_order() -> None:
    assert [check.name for check in CHECKS] == list(TOPICS)


def test_no_two_topics_share_a_code() -> None:
    assert len(MEANINGS) == sum(len(topic.meanings) for topic in TOPICS.values())


def test_the_page_is_written_from_the_catalogue() -> None:
    done = subprocess.run([sys.executable, "scripts/write-doctor-page", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run scripts/write-doctor-page"
