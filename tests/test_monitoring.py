"""The alerts and the dashboard for Prometheus and Grafana are valid, and fire when they must."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchline import metrics
from batchline.metrics import Histogram
from devservers.prometheus import find_promtool
from tests.conftest import available

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULE_TESTS = Path(__file__).with_name("alerts.yaml")
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text()
GUIDE = (ROOT / "docs" / "howto" / "monitor.md").read_text()
GRID_WIDTH = 24


METRICS: dict[str, metrics.Counter | metrics.Gauge | Histogram] = {
    each.name: each for each in (*metrics.OF_DATABASE, *metrics.OF_API, *metrics.OF_JOB)
} | {metrics.BUILD_INFO.name: metrics.BUILD_INFO}
LABELS = {
    f"{name}{end}": set(each.labels) | ({"le"} if end == "_bucket" else set())
    for name, each in METRICS.items()
    for end in (("_bucket", "_count", "_sum") if isinstance(each, Histogram) else ("",))
}
"""The labels of each series that is scraped."""
OF_EVERY_TARGET = {"namespace", "instance"}


def promtool(*words: str | Path) -> None:
    with available("prometheus"):
        command = [find_promtool(), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# Alerts and the dashboard


@pytest.mark.parametrize("expression", [*(each["expr"] for each in ALERTS), *EXPRESSIONS])
def test_an_expression_asks_for_series_and_labels_that_exist(expression: str) -> None:
    series = set(re.findall(r"\bbatchline_\w+", expression))
    assert series
    assert series - LABELS.keys() == set()
    grouped = re.findall(r"\b(?:by|ignoring|on) ?\(([\w, ]*)\)", expression)
    selected = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
    named = {label for labels in grouped for label in re.split(", *", labels)} | set(selected)
    existing = set.union(*(LABELS[each] for each in series))
    assert named - existing - OF_EVERY_TARGET == set()


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(EXPRESSIONS)
    assert [name for name in METRICS if name not in shown] == []


def test_the_guide_shows_the_configuration_that_prometheus_accepts(tmp_path: Path) -> None:
    shutil.copytree(RULES.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "api-key").write_text("bl_")
    promtool("check", "config", tmp_path / "prometheus.yaml")
    [shown] = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert (
        yaml.safe_load(shown).items()
        <= yaml.safe_load((tmp_path / "prometheus.yaml").read_text()).items()
    )


# Alerts


def test_prometheus_accepts_the_alerts() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_each_alert_fires_when_it_must_and_not_before() -> None:
    promtool("test", "rules", RULE_TESTS)
    assert [each["alert"] for each in ALERTS if each["alert"] not in RULE_TESTS.read_text()] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert f"## {alert['alert']}" in GUIDE


def test_the_alert_about_rejections_names_the_errors_that_are_not_the_client_s_fault() -> None:
    [alert] = [each for each in ALERTS if each["alert"] == "BatchlineRequestsRejected"]
    [codes] = re.findall(r'code=~"(.*)"', alert["expr"])
    ours = set(re.findall(r"^\| 50\d \| `(\w+)`", ERRORS, re.MULTILINE))
    assert set(codes.split("|")) == ours - {"shutting_down", "predictions_late", "job_silent"}


# The dashboard


def test_prometheus_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": _without_variables(expression)}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def _without_variables(expression: str) -> str:
    """The expression with values, as Grafana asks Prometheus."""
    assert '{namespace=~"$namespace"}' in expression
    text = expression.replace("$namespace", ".*").replace("$__rate_interval", "1m")
    assert "$" not in text
    return text


def test_the_dashboard_works_with_any_prometheus_of_a_grafana() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    asked = [*PANELS, VARIABLES["namespace"], *(t for panel in PANELS for t in panel["targets"])]
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert all(each["datasource"] == wanted for each in asked)
    assert "__inputs" not in DASHBOARD  # Grafana would ask for them at each import


def test_the_panels_have_an_id_and_a_place_of_their_own() -> None:
    every = DASHBOARD["panels"]
    assert len({each["id"] for each in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for place in (each["gridPos"] for each in every):
        assert place["x"] + place["w"] <= GRID_WIDTH
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in rows}
        assert not cells & taken
        taken |= cells


def test_every_panel_says_what_it_shows() -> None:
    assert all(panel["title"] and panel["description"] for panel in PANELS)
