"""The boards and the alert rules name metrics that exist, with labels that they have."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailward.core.metrics import catalogue
from mailward.sender.exposition import Deferred, Scene, families
from mailward.sender.metrics import Metrics
from mailward.sender.signalnumbers import SignalNumbers

ROOT = Path(__file__).parents[2]
BOARDS = sorted((ROOT / "packaging" / "grafana").glob("*.json"))
RULES = ROOT / "packaging" / "prometheus" / "alerts.yml"
UNITS = {"none", "s", "bytes", "percentunit", "ops", "reqps"}
_METRIC = re.compile(r"\b(mailward_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")


def expressions(board: Path) -> Iterator[str]:
    for panel in json.loads(board.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def rule_expressions() -> list[str]:
    """Without a YAML reader: the value of `expr:`, folded lines too."""
    found = re.findall(r"^ +expr: (?:>\n((?: {10}.*\n)+)|(.*)\n)", RULES.read_text(), re.MULTILINE)
    return [" ".join((folded or plain).split()) for folded, plain in found]


def known() -> dict[str, set[str]]:
    """Every series name, with its labels."""
    found: dict[str, set[str]] = {}
    for each in catalogue.definitions():
        names = [each.name]
        if each.kind == "histogram":
            names = [f"{each.name}_{end}" for end in ("bucket", "sum", "count")]
        found |= {name: {*each.labels, "le"} for name in names}
    scene = Scene(
        Metrics(),
        dane_on=True,
        overrides=0,
        mode="enforce",
        started_at=0,
        deferred={"sts": Deferred(1, 1, 1)},
        signals=SignalNumbers().all(),
    )
    for family in families(scene):
        labels = {label for sample in family.samples for label in sample.labels}
        # counters by row and reason have no samples in a scene where nothing happened
        found[family.name] = labels | {"row", "reason"}
    for name in ("policies", "policies_ended", "refresh_failing"):
        found[f"mailward_sender_{name}"] = set()  # of a cache that can be read
    return found


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_board_names_metrics_that_exist_with_labels_that_they_have(board: Path) -> None:
    assert_known(list(expressions(board)))


def test_the_alert_rules_name_metrics_that_exist() -> None:
    rules = rule_expressions()
    assert len(rules) == RULES.read_text().count("- alert:")
    assert_known(rules)


def assert_known(found: list[str]) -> None:
    series = known()
    assert found
    for expression in found:
        names = _METRIC.findall(expression)
        labels: set[str] = set()
        for name, matchers in names:
            assert name in series, expression
            labels |= series[name]
            assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= series[name] | {"instance"}, expression
        for group in _BY.findall(expression):
            assert set(group.replace(",", " ").split()) <= labels | {"instance"}, expression


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_what_grafana_reads(board: Path) -> None:
    """As @grafana/schema 11.1 to 13.2 declares a dashboard; the units are identifiers of Grafana's."""
    found = json.loads(board.read_text())
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables["datasource"]["current"].keys() == {"text", "value"}
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24  # Grafana's columns
        taken = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not taken & cells, panel["title"]
        cells |= taken
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {each["uid"] for each in sources} == {"${datasource}"}


def test_the_boards_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-grafana-boards", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-grafana-boards"


def test_promtool_accepts_the_alert_rules() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "scripts/test-needs installs prometheus"
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
