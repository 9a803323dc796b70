"""The real Prometheus scrapes an installation, evaluates every panel of the board and every alert rule."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_serve import until
from tests.fakes.ports import free_port
from tests.observing.installation import Observed
from tests.observing.test_boards import BOARDS, RULES, expressions, rule_expressions

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: mailward
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
SILENT = ("mailward_sender_", "mailward_backup_", "mailward_certificate", "mailward_relay_up")
"""Of what this installation has none: a sender, backups, certificates of a CA's, a relay."""


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **query: str) -> dict[str, Any]:
        """Raises OSError; HTTP 400 is for what is no PromQL."""
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        assert found["status"] == "success"
        data: dict[str, Any] = found["data"]
        return data

    def series(self, expression: str) -> list[Any]:
        filled = expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
        return list(self.ask("/api/v1/query", query=filled)["result"])

    def is_ready(self) -> bool:
        try:
            return bool(self.series("count(mailward_up == 1) == 5"))
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    program, port = shutil.which("prometheus"), free_port()
    assert program, "scripts/test-needs installs prometheus"
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=RULES, port=target))
    words = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_prometheus_understands_every_panel_and_every_rule(house: Observed, tmp_path: Path) -> None:
    with prometheus(tmp_path, house.metrics_port) as found:
        until(found.is_ready, seconds=60)
        until(lambda: found.series("rate(mailward_process_cpu_seconds_total[1m])"))
        until(lambda: found.series("mailward_queue_items"), seconds=60)
        for board in BOARDS:
            for expression in expressions(board):
                has_series = bool(found.series(expression))  # OSError where it is no PromQL
                assert has_series or any(word in expression for word in SILENT), expression
        groups = found.ask("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) == len(rule_expressions())
        until(lambda: not unhealthy(found))
        firing = {alert["labels"]["alertname"] for alert in found.ask("/api/v1/alerts")["alerts"]}
        assert firing == set()


def unhealthy(found: Prometheus) -> list[str]:
    groups = found.ask("/api/v1/rules")["groups"]
    return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"]
