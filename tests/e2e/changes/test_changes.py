"""Programs that none of us wrote accept our policies, and never see an id without its policy, whoever is killed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
    pytest.mark.timeout(3600),
]


def watch(folder: Path, changes: int, kills: int, *more: str) -> dict[str, Any]:
    subprocess.run(
        ["make", "-s", "-C", str(ROOT), ".venv-bench-sender/.ready", ".venv-bench-check/.ready"], check=True
    )
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m"]
    command += ["tests.e2e.changes.world", str(folder), str(changes), str(kills), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    log = (folder / "log").read_text() if (folder / "log").exists() else ""
    assert done.returncode == 0, done.stderr[-3000:] + log[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _judge(found: dict[str, Any], changes: int) -> None:
    assert found["faults"] == {"postfix-mta-sts-resolver": [], "checkdmarc": []}
    assert found["unfinished"] == 0
    # while a host is started again, a connection to it fails: a second, and some questions
    assert sum(map(len, found["failures"].values())) <= 10 * len(found["killed"])
    # it keeps an answer of the DNS for its TTL, so that it does not see each of them
    assert found["seen"]["postfix-mta-sts-resolver"]["VALID"] >= changes * 0.3
    assert found["seen"]["checkdmarc"]["VALID"] >= 5


def test_p12_strangers_see_every_change_whole(tmp_path: Path) -> None:
    found = watch(tmp_path, 12, 4, "hurry")
    assert found["killed"] == ["_worker", "_policy-host", "_nameserver", "second host"]
    _judge(found, 12)


@pytest.mark.long
def test_p12_strangers_see_a_thousand_changes_whole(tmp_path: Path) -> None:
    found = watch(tmp_path, 1_000, 24)
    _judge(found, 1_000)
