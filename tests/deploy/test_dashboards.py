"""Dashboards and rules, held against the table of metrics and against Prometheus' own tools."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from broker_filter.monitoring.metrics import METRICS

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
EXPOSED = {metric.name + suffix for metric in METRICS for suffix in SUFFIXES[metric.kind]}


@pytest.fixture
def deploy(repo_root: Path) -> Path:
    return repo_root / "deploy"


@pytest.fixture
def dashboards(deploy: Path) -> ModuleType:
    """The script that writes the dashboards, as a module."""
    spec = importlib.util.spec_from_file_location("make_dashboards", deploy / "grafana" / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_dashboards_are_what_the_script_writes(dashboards: ModuleType) -> None:
    """Nobody edited a dashboard behind the back of the script."""
    for dashboard in dashboards.DASHBOARDS:
        written = json.loads((dashboards.FOLDER / f"{dashboard.uid}.json").read_text("utf-8"))
        assert written == dashboards.dashboard_json(dashboard)


def test_every_panel_obeys_the_variables(dashboards: ModuleType) -> None:
    """Each metric that a panel reads is that of the chosen processes, from the chosen data source."""
    for dashboard in dashboards.DASHBOARDS:
        written = dashboards.dashboard_json(dashboard)
        assert [one["name"] for one in written["templating"]["list"]] == ["datasource", "survey", "instance"]
        for panel in written["panels"]:
            assert panel["datasource"]["uid"] == "${datasource}"
            for target in panel["targets"]:
                names = re.findall(r"\b(?:ictc|process)_\w+", target["expr"])
                assert target["expr"].count('instance=~"$instance"') == len(names) > 0


def test_no_expression_asks_for_a_metric_that_does_not_exist(deploy: Path, dashboards: ModuleType) -> None:
    """Every name in dashboards and rules is in the table of metrics, or recorded by a rule."""
    groups = yaml.safe_load((deploy / "helm" / "ictc" / "rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    known = EXPOSED | {rule["record"] for rule in rules if "record" in rule}
    panels = [panel for dashboard in dashboards.DASHBOARDS for panel in dashboard.panels]
    expressions = [rule["expr"] for rule in rules] + [query for panel in panels for _, query in panel.queries]
    for expression in expressions:
        unknown = set(re.findall(r"\bictc[a-z0-9_:]+", re.sub(r'"[^"]*"', "", expression))) - known
        assert not unknown, f"{unknown} in {expression}"


def test_every_alert_has_a_section_in_the_runbook(deploy: Path) -> None:
    """Whoever is woken finds what to do under the link of the alert."""
    headings = {
        heading.lower() for heading in re.findall(r"^### (\w+)$", (deploy / "README.md").read_text(), re.MULTILINE)
    }
    groups = yaml.safe_load((deploy / "helm" / "ictc" / "rules.yaml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert {rule["alert"].lower() for rule in alerts} == headings
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_rules_fire_when_they_should(deploy: Path) -> None:
    """Prometheus' own tool runs the unit tests of every recording and alert rule."""
    tests = deploy / "prometheus" / "rules_test.yaml"
    report = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stdout + report.stderr
    tested = tests.read_text()
    groups = yaml.safe_load((deploy / "helm" / "ictc" / "rules.yaml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        assert f"alertname: {rule['alert']}" in tested, f"no test fires {rule['alert']}"


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed (Debian: prometheus-alertmanager)")
def test_alertmanager_accepts_its_configuration(deploy: Path) -> None:
    """Alertmanager's own tool reads the routing."""
    subprocess.run(["amtool", "check-config", deploy / "alertmanager" / "alertmanager.yaml"], check=True)
