"""Domains of the zoo that change from day to day: what only shows beside an earlier check, with real servers."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.zoo.rows import Row, read_days
from tests.zoo.servers import ALL_AT_ONCE, Servers, running_zoo

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

Documents = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Documents]:
    """By day, what `mailward check --history` says of each domain; each day the file is made a day older."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("network namespaces need root")
    file, days = tmp_path_factory.mktemp("days") / "history.jsonl", []
    for rows in read_days():
        if file.exists():
            file.write_text("".join(map(_make_older, file.read_text().splitlines())))
        with running_zoo(rows) as servers:
            days.append(_check(servers, rows, file))
    return days


def _check(servers: Servers, rows: tuple[Row, ...], file: Path) -> Documents:
    command = [sys.executable, "-m", "mailward", "check", "--json", "--allow-private", *ALL_AT_ONCE]
    command += ["--history", str(file), "--resolver", "127.0.0.1", "--ca-file", str(servers.zoo.root_file)]
    inside = [*servers.network.inside("sender"), *command, *(row.domain for row in rows)]
    environment = {**os.environ, "XDG_STATE_HOME": str(file.parent)}
    done = subprocess.run(inside, capture_output=True, text=True, check=False, env=environment)
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(documents) == len(rows), done.stderr
    return {document["domain"]: document for document in documents}


def _make_older(line: str) -> str:
    document = json.loads(line)
    at = datetime.fromisoformat(document["at"]) - timedelta(days=1)
    return json.dumps(document | {"at": at.isoformat()}) + "\n"


@pytest.mark.parametrize(
    "day, row",
    [
        pytest.param(day, row, id=f"{row.label}-day-{day + 1}")
        for day, rows in enumerate(read_days())
        for row in rows
    ],
)
def test_each_day_shows_what_changed_and_nothing_else(seen: list[Documents], day: int, row: Row) -> None:
    document = seen[day][row.domain]
    found = {f"{finding['code']} {finding['severity']}" for finding in document["findings"]}
    assert found == set(row.expect), document["findings"]
    assert (document["history"] or {"checks": 0})["checks"] == day
